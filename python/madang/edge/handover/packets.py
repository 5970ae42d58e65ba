"""What giver and taker say to each other (msgpack). Pure.

    giver  Hello  Batch  Batch  ...  Done          taker  Warm  Ack  Ack  ...

One batch is on its way at a time. Of a batch exactly what `Ack` names has moved; the rest is the
giver's again. `Withdrawn`: the giver has waited long enough and goes on with what was not taken.
"""

from __future__ import annotations

from typing import Final

import msgspec

DESCRIPTORS_MAX: Final = 200
"""Of connections, in one message; the kernel takes 253."""


class Moving(msgspec.Struct, array_like=True, frozen=True):
    """One frozen connection: `kind` says who thaws `state`."""

    kind: str
    state: bytes


class Hello(msgspec.Struct, array_like=True, frozen=True, tag="hello"):
    """Who gives, and which channels its clients listen to."""

    giver: str
    channels: list[str]


class Warm(msgspec.Struct, array_like=True, frozen=True, tag="warm"):
    """The taker follows those channels; its name is where messages for its clients go."""

    taker: str


class Batch(msgspec.Struct, array_like=True, frozen=True, tag="batch"):
    """Frozen connections; their descriptors come along in the same order."""

    moving: list[Moving]


class Ack(msgspec.Struct, array_like=True, frozen=True, tag="ack"):
    """Which of the batch, by place, the taker has; it may give reasons for the others."""

    taken: list[int]
    refusals: list[str] = []


class Withdrawn(msgspec.Struct, array_like=True, frozen=True, tag="withdrawn"):
    """What was not acknowledged is the giver's again."""


class Done(msgspec.Struct, array_like=True, frozen=True, tag="done"):
    """Nothing more comes."""


Packet = Hello | Warm | Batch | Ack | Withdrawn | Done
_decoder: Final = msgspec.msgpack.Decoder(Packet)


def encode(packet: Packet) -> bytes:
    """Return the bytes of a packet."""
    return msgspec.msgpack.encode(packet)


def decode(data: bytes) -> Packet:
    """Return the packet; raises msgspec.MsgspecError."""
    packet: Packet = _decoder.decode(data)
    return packet
