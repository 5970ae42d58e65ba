"""Where the `madang` command begins.

`madang ls` is what people and scripts ask all day, so it is answered before anything else is
imported; every other command is described in `program`.
"""

from __future__ import annotations

import io
import sys

EXIT_USAGE = 2


def main() -> None:
    """Run the command of this process's arguments."""
    if sys.platform != "linux":
        sys.stderr.write("madang: runs on Linux only\n")
        raise SystemExit(EXIT_USAGE)
    arguments = sys.argv[1:]
    _take_any_bytes()
    try:
        _run(arguments)
    except OSError as error:
        from madang.cli import system_errors

        as_json = "--json" in arguments
        raise SystemExit(system_errors.tell(error, as_json=as_json)) from error


def _take_any_bytes() -> None:
    """Read and print what is no UTF-8 as the bytes that it is, as arguments and variables are."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")


def _run(arguments: list[str]) -> None:
    asked = plain_ls(arguments)
    if asked is not None:
        from madang.cli.listing import list_instances

        raise SystemExit(list_instances(asked[0], as_json=asked[1]))
    from madang.cli.program import run

    run(arguments)


def plain_ls(arguments: list[str]) -> tuple[str | None, bool] | None:
    """Return state folder and `--json` of a plain `ls`, None for anything else."""
    if arguments[:1] != ["ls"]:
        return None
    state: str | None = None
    as_json = False
    rest = arguments[1:]
    while rest:
        word = rest.pop(0)
        if word == "--json":
            as_json = True
        elif word == "--state" and rest:
            state = rest.pop(0)
        elif word.startswith("--state="):
            state = word.removeprefix("--state=")
        else:
            return None
    return state, as_json


if __name__ == "__main__":
    main()
