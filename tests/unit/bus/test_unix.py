"""The socket mesh from outside: files, hostile peers, stale sockets."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from madang.bus import Bus, BusError, BusLimits, BusSettings, open_unix_bus
from madang.bus.folder import FolderBusy, SocketFolder
from madang.wire.busframes import (
    HEADER,
    PAYLOAD_BYTES_MAX,
    VERSION,
    CloseReason,
    FrameDecoder,
    Kind,
    encode,
)

LIMIT_S = 10.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.001)


def hello(name: str = "stranger", incarnation: int = 1) -> bytes:
    return encode(Kind.HELLO, incarnation, name, VERSION.pack(1))


READY = encode(Kind.READY)
SYNCED = encode(Kind.SYNCED)
HOSTILE = {
    "garbage": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown kind": HEADER.pack(0, 99, 0, 0, 0),
    "oversized length": hello() + HEADER.pack(PAYLOAD_BYTES_MAX + 1, Kind.MESSAGE, 0, 0, 0),
    "message before HELLO": encode(Kind.MESSAGE, 0, "a", b"x"),
    "interest before HELLO": encode(Kind.SUBSCRIBE, 0, "a"),
    "READY before HELLO": READY,
    "SYNCED before HELLO": SYNCED,
    "second HELLO": hello() + hello(),
    "second READY": hello() + READY + READY,
    "second SYNCED": hello() + READY + SYNCED + SYNCED,
    "message before READY": hello() + encode(Kind.MESSAGE, 0, "a", b"x"),
    "answer before READY": hello() + encode(Kind.RESPONSE, 1),
    "our own name": hello("one"),
    "no name": hello(""),
    "a path as name": hello("../../x"),
    "no incarnation": hello(incarnation=0),
    "another version": encode(Kind.HELLO, 1, "stranger", VERSION.pack(2)),
    "a pattern that is none": hello() + encode(Kind.SUBSCRIBE, 0, "a..b") + READY,
    "a served pattern": hello() + encode(Kind.SERVE, 0, "a.*") + READY,
    "too many interests": hello()
    + b"".join(encode(Kind.SUBSCRIBE, 0, f"s.{number}") for number in range(20)),
    "too many interests, later": hello()
    + READY
    + b"".join(encode(Kind.SUBSCRIBE, 0, f"s.{number}") for number in range(20)),
}


async def read_to_end(reader: asyncio.StreamReader) -> list[tuple[int, int, str, bytes]]:
    async with asyncio.timeout(LIMIT_S):
        return FrameDecoder().feed(await reader.read(-1))


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_peer_that_breaks_a_rule_is_told_why_and_closed(data: bytes, tmp_path: Path) -> None:
    async def main() -> None:
        bus = await open_unix_bus(BusSettings("one", tmp_path, BusLimits(interests=10)))
        reader, writer = await asyncio.open_unix_connection(tmp_path / "one.sock")
        writer.write(data)
        await until(lambda: bus.statistics().get("closed_protocol", 0) == 1)
        frames = await read_to_end(reader)
        closing = [frame for frame in frames if frame[0] == Kind.CLOSE]
        # With output queued no goodbye can be said; a plain end of stream is the answer.
        assert all(number == CloseReason.PROTOCOL and text for _, number, _, text in closing)
        assert closing or frames == []
        assert bus.peers() == frozenset()
        assert not bus.interested("s.1")
        writer.close()
        await bus.close()

    asyncio.run(main())


def test_a_silent_stranger_is_closed_in_time(tmp_path: Path) -> None:
    async def main() -> None:
        limits = BusLimits(handshake_timeout_ms=50)
        bus = await open_unix_bus(BusSettings("one", tmp_path, limits))
        reader, writer = await asyncio.open_unix_connection(tmp_path / "one.sock")
        frames = await read_to_end(reader)
        assert [frame[:2] for frame in frames] == [(Kind.CLOSE, CloseReason.PROTOCOL)]
        writer.close()
        await bus.close()

    asyncio.run(main())


def test_a_peer_that_never_reads_is_bounded_and_closed(tmp_path: Path) -> None:
    async def main() -> None:
        limits = BusLimits(queued_bytes=2 * 1024 * 1024, control_bytes=4096)
        bus = await open_unix_bus(BusSettings("one", tmp_path, limits))
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(tmp_path / "one.sock"))
            stranger.sendall(hello() + encode(Kind.SUBSCRIBE, 0, "n") + READY + SYNCED)
            await until(lambda: bus.peers() == {"stranger"})
            for _ in range(200):
                bus.publish("n", bytes(64 * 1024))
                await asyncio.sleep(0)
                assert bus.statistics()["unsent_bytes"] < 3 * 1024 * 1024
            assert bus.statistics()["dropped"] > 0
            assert bus.peers() == {"stranger"}
            for number in range(1000):  # what may not be dropped ends the link instead
                bus.subscribe(f"{number}." + "x" * 200, lambda batch: None)
                await asyncio.sleep(0)
            assert bus.peers() == frozenset()
            assert bus.statistics()["closed_overrun"] == 1
        await bus.close()

    asyncio.run(main())


def test_connections_are_bounded(tmp_path: Path) -> None:
    async def main() -> None:
        bus = await open_unix_bus(BusSettings("one", tmp_path, BusLimits(peers=2)))
        strangers = [await asyncio.open_unix_connection(tmp_path / "one.sock") for _ in range(6)]
        await until(lambda: bus.statistics().get("links_refused", 0) == 2)
        ended = [reader for reader, _ in strangers[4:]]
        assert [await read_to_end(reader) for reader in ended] == [[], []]
        for _, writer in strangers:
            writer.close()
        await bus.close()

    asyncio.run(main())


def test_socket_and_folder_are_for_the_owner_only(tmp_path: Path) -> None:
    async def main() -> None:
        folder = tmp_path / "run" / "bus"
        bus = await open_unix_bus(BusSettings("one", folder))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "one.sock").stat().st_mode) == 0o600
        bulk = folder / "bulk"
        assert stat.S_IMODE(bulk.stat().st_mode) == 0o700
        assert stat.S_IMODE((bulk / "one.sock").stat().st_mode) == 0o600
        await bus.close()
        assert sorted(path.name for path in folder.iterdir()) == [".lock", "bulk"]
        assert [path.name for path in bulk.iterdir()] == [".lock"]

    asyncio.run(main())


def test_stale_sockets_are_removed_and_living_ones_are_not(tmp_path: Path) -> None:
    async def main() -> None:
        for name in ("dead", "one"):
            SocketFolder(tmp_path, name).listen().close()
        with SocketFolder(tmp_path, "living").listen():
            bus: Bus = await open_unix_bus(
                BusSettings("one", tmp_path, BusLimits(handshake_timeout_ms=50))
            )
            names = sorted(path.name for path in tmp_path.glob("*.sock"))
            assert names == ["living.sock", "one.sock"]
            await bus.close()

    asyncio.run(main())


def test_a_predecessor_leaves_its_successors_socket_alone(tmp_path: Path) -> None:
    async def main() -> None:
        first = await open_unix_bus(BusSettings("one", tmp_path))
        second = await open_unix_bus(BusSettings("one", tmp_path))
        await first.close()
        third = await open_unix_bus(BusSettings("three", tmp_path))
        assert third.peers() == {"one"}
        await second.close()
        await third.close()

    asyncio.run(main())


def test_an_opened_bus_is_linked_with_all_that_were_there(tmp_path: Path) -> None:
    async def main() -> None:
        buses = [await open_unix_bus(BusSettings(f"w{number}", tmp_path)) for number in range(4)]
        assert buses[-1].peers() == {"w0", "w1", "w2"}
        for bus in buses:
            await bus.close()

    asyncio.run(main())


def test_a_busy_folder_is_waited_for_within_a_limit(tmp_path: Path) -> None:
    async def main() -> None:
        folder = SocketFolder(tmp_path, "other")
        settings = BusSettings("one", tmp_path, BusLimits(handshake_timeout_ms=30))
        with folder._lock(), pytest.raises(FolderBusy):
            await open_unix_bus(settings)
        await (await open_unix_bus(settings)).close()

    asyncio.run(main())


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="too long"):
        asyncio.run(open_unix_bus(BusSettings("one", tmp_path / ("x" * 100))))
