"""Starting a process by exec: the only way for programs that are not ours."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Mapping, Sequence

from madang.cluster.launch import OPEN_FILES_VARIABLE

HIGH_DESCRIPTOR = 200
FIRST_DESCRIPTOR = 3


def inherited_environment(*, whole: bool) -> dict[str, str]:
    """Return what a process finds of the supervisor's own: all, or what our programs need."""
    return {
        name: value for name, value in os.environ.items() if whole or name == OPEN_FILES_VARIABLE
    }


def execute(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    descriptors: Sequence[int],
    output: int | None,
    given_input: int | None = None,
) -> int:
    """Start `python arguments` in a session of its own and return the pid.

    `descriptors` become 3, 4, …, `output` its standard output and error (None: ours), `given_input`
    its standard input (None: nothing to read).
    """
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR) for fd in descriptors]
    actions: list[tuple[object, ...]] = []
    if given_input is None:
        actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
    else:
        actions.append((os.POSIX_SPAWN_DUP2, given_input, 0))
    if output is not None:
        actions += [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    for index, descriptor in enumerate(moved):
        actions.append((os.POSIX_SPAWN_DUP2, descriptor, FIRST_DESCRIPTOR + index))
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            dict(environment),
            file_actions=actions,
            setsid=True,
            setsigmask=(),
        )
    finally:
        for descriptor in moved:
            os.close(descriptor)
