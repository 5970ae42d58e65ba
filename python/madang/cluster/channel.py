"""Messages between the supervisor and its children: one JSON object a packet, with descriptors.

A SOCK_SEQPACKET pair keeps the boundaries of messages and says end-of-file when the other side
dies, which is how a child learns that its supervisor is gone.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping, Sequence

MESSAGE_BYTES_MAX = 128 * 1024
DESCRIPTORS_MAX = 64
BUFFER_BYTES = 1024 * 1024

Message = Mapping[str, object]


class ChannelClosed(Exception):
    """The other side is gone."""


def pair() -> tuple[socket.socket, socket.socket]:
    """Return both ends of a new channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    return ours, theirs


def send(end: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises BlockingIOError when the other side does not read, ChannelClosed when it is gone,
    ValueError when the message is too large.
    """
    packet = json.dumps(message, separators=(",", ":")).encode()
    if len(packet) > MESSAGE_BYTES_MAX or len(descriptors) > DESCRIPTORS_MAX:
        text = f"a message of {len(packet)} bytes, {len(descriptors)} descriptors is too large"
        raise ValueError(text)
    try:
        socket.send_fds(end, [packet], list(descriptors), socket.MSG_NOSIGNAL)
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed from error


def receive(end: socket.socket) -> tuple[dict[str, object], list[int]]:
    """Return the next message and its descriptors, which are close-on-exec.

    Raises BlockingIOError when there is none on a non-blocking end, ChannelClosed at end-of-file.
    """
    flags = socket.MSG_CMSG_CLOEXEC
    try:
        packet, descriptors, _, _ = socket.recv_fds(end, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX, flags)
    except ConnectionResetError as error:
        raise ChannelClosed from error
    if not packet:
        raise ChannelClosed
    message: dict[str, object] = json.loads(packet)
    return message, list(descriptors)
