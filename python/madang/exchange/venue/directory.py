"""Pages of what workers keep at hand: instruments, accounts, credentials, as query records."""

from __future__ import annotations

import struct

from madang.exchange.engine.port import Engine
from madang.wire.events import RECORD_HEADER_BYTES, split_records

QUESTION = struct.Struct("<IIII")  # after account, after credential, after instrument, limit
PAGE_RECORDS_MAX = 300
"""Of each kind: the longest records, 300 each, stay below the bus's message limit."""


def directory_page(engine: Engine, question: bytes) -> bytes | None:
    """Return the next records of each kind, None where the question is malformed.

    The last page is the one that brings no account and no credential, nor an instrument.
    """
    if len(question) != QUESTION.size:
        return None
    account, credential, instrument, limit = QUESTION.unpack(question)
    limit = max(1, min(limit, PAGE_RECORDS_MAX))
    instruments = b""
    if instrument or not (account or credential):
        instruments = _instruments_after(engine, instrument, PAGE_RECORDS_MAX)
    return instruments + engine.accounts(account, limit) + engine.credentials(credential, limit)


def _instruments_after(engine: Engine, after: int, limit: int) -> bytes:
    data = engine.instruments()
    found = []
    for _, offset, length in split_records(data):
        start = offset + RECORD_HEADER_BYTES
        if int.from_bytes(data[start : start + 4], "little") > after:
            found.append(data[offset : offset + length])
            if len(found) == limit:
                break
    return b"".join(found)
