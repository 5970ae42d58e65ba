"""Reading command records: from bytes to fields, or "malformed".

A record is malformed when its kind is unknown or its lengths do not add up. Whether the fields make
sense is for the handlers to say.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from madang.wire import commands as wire
from madang.wire.commands import CommandKind


class Layout(NamedTuple):
    """The body of a kind of command and which of its fields are lengths of texts."""

    body: Struct
    text_fields: tuple[int, ...]


LAYOUTS: dict[int, Layout] = {
    CommandKind.NEW_ORDER: Layout(wire.NEW_ORDER_BODY, (10,)),
    CommandKind.REPLACE_ORDER: Layout(wire.REPLACE_BODY, (5,)),
    CommandKind.CANCEL_ORDER: Layout(wire.CANCEL_BODY, ()),
    CommandKind.CANCEL_ALL: Layout(Struct(""), ()),
    CommandKind.TRANSFER: Layout(wire.TRANSFER_BODY, ()),
    CommandKind.CREATE_ACCOUNT: Layout(wire.CREATE_ACCOUNT_BODY, (0,)),
    CommandKind.SET_ACCOUNT: Layout(wire.SET_ACCOUNT_BODY, ()),
    CommandKind.SET_CREDENTIAL: Layout(wire.SET_CREDENTIAL_BODY, (1, 2)),
    CommandKind.SET_INSTRUMENT: Layout(wire.SET_INSTRUMENT_BODY, (4, 5, 6)),
    CommandKind.SET_SESSION: Layout(wire.SET_SESSION_BODY, ()),
    CommandKind.SET_FEES: Layout(wire.SET_FEES_BODY, ()),
    CommandKind.END_DAY: Layout(Struct(""), ()),
    CommandKind.EXPIRE_KEYS: Layout(wire.EXPIRE_KEYS_BODY, ()),
    CommandKind.SET_RULES: Layout(wire.SET_RULES_BODY, ()),
    CommandKind.SET_LIMITS: Layout(wire.SET_LIMITS_BODY, ()),
}


class Command(NamedTuple):
    """A well-formed command. `texts` are its text fields one after another, without padding."""

    kind: int
    account: int
    request_id: bytes
    fields: tuple[int, ...]
    texts: bytes
    key: bytes  # of NEW_ORDER and REPLACE_ORDER, else empty


_WITH_KEY = (CommandKind.NEW_ORDER, CommandKind.REPLACE_ORDER)


def read_command(record: bytes) -> Command | None:
    """Return the command in a record whose framing is sound, None when it is malformed."""
    _, kind, _, account, request_id = wire.HEADER.unpack_from(record)
    layout = LAYOUTS.get(kind)
    if layout is None:
        return None
    body, text_fields = layout
    start = wire.HEADER_BYTES + body.size
    if len(record) < start:
        return None
    fields = body.unpack_from(record, wire.HEADER_BYTES)
    text_bytes = 0
    for index in text_fields:
        text_bytes += fields[index]
    end = start + text_bytes
    if len(record) != end + -end % 8:
        return None
    key = fields[-1] if kind in _WITH_KEY else b""
    return Command(kind, account, request_id, fields, record[start:end], key)
