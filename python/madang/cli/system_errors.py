"""What the operating system refused, in one line: what, where, and what to do.

Imported only when something went wrong, so that `madang ls` stays quick.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import suppress

from madang.cluster.control import NOT_OURS

EXIT_FAILED = 1
REMEDIES = {
    errno.EACCES: NOT_OURS,
    errno.EPERM: NOT_OURS,
    errno.EROFS: "give a state folder that can be written to (--state)",
    errno.EEXIST: "a folder is needed there: give another one (--state)",
    errno.ENOTDIR: "a folder is needed there: give another one (--state)",
    errno.ENOSPC: "make room, or write elsewhere",
    errno.EDQUOT: "make room, or write elsewhere",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def describe(error: OSError) -> str:
    """Return in one line what went wrong, where, and what to do."""
    why = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        text = f"{os.fsdecode(error.filename)}: {why}"
    elif isinstance(error, FileNotFoundError):
        return "the folder that this command was started in is gone: change to one that is there"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        text = f"cannot write the output: {why}"
    else:
        text = f"the system refused: {why}"
    remedy = REMEDIES.get(error.errno or 0)
    return f"{text}; {remedy}" if remedy else text


def tell(error: OSError, *, as_json: bool) -> int:
    """Print why the system refused; return the exit code. Who has left is told nothing."""
    if not isinstance(error, BrokenPipeError):
        text = describe(error)
        try:
            if as_json:
                print(json.dumps({"error": text}), flush=True)
        except OSError:
            as_json = False
        if not as_json:
            with suppress(OSError):
                print(f"madang: {text}", file=sys.stderr, flush=True)
    _give_up_output()
    return EXIT_FAILED


def _give_up_output() -> None:
    """Let what could not be written go, or the interpreter would try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
