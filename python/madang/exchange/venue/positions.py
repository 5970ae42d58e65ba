"""How far each follower no longer needs the log: one small file per follower."""

from __future__ import annotations

from pathlib import Path

import msgspec

from madang.exchange.venue.disk import Disk, read_whole, write_new_file

FOLLOWERS_FOLDER = "followers"


class FollowerPosition(msgspec.Struct, frozen=True):
    """How far a follower no longer needs the log."""

    sequence: int


def write_position(disk: Disk, state_dir: Path, name: str, sequence: int) -> None:
    """Record durably that follower `name` no longer needs what is up to `sequence`."""
    folder = state_dir / FOLLOWERS_FOLDER
    disk.make_folder(folder)
    content = msgspec.json.encode(FollowerPosition(sequence))
    write_new_file(disk, folder / f"{name}.json", content)


def read_positions(disk: Disk, state_dir: Path) -> dict[str, int]:
    """Return the recorded position of every follower; one that cannot be read counts as 0."""
    folder = state_dir / FOLLOWERS_FOLDER
    positions: dict[str, int] = {}
    for name in disk.names(folder):
        if name.endswith(".json"):
            try:
                position = msgspec.json.decode(
                    read_whole(disk, folder / name), type=FollowerPosition
                )
                positions[name.removesuffix(".json")] = position.sequence
            except msgspec.DecodeError:
                positions[name.removesuffix(".json")] = 0
    return positions
