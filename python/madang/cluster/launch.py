"""Become a program that is not ours: the last steps before its exec, in the process itself.

Run as a file by a bare interpreter (`python -I -S launch.py`), which takes some 10 ms, because only
the process itself can put its own pid into LISTEN_PID, change its user, and tie its life to ours.
Standard library only. What cannot be done is said in one line, exit code 127 or 126 as in a shell.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys

VARIABLE = "MADANG_LAUNCH"
OPEN_FILES_VARIABLE = "MADANG_OPEN_FILES"
PR_SET_PDEATHSIG = 1
EXIT_NOT_FOUND = 127
EXIT_CANNOT_RUN = 126


class NotPermitted(Exception):
    """A setting that the user of the supervisor may not have."""


def take_nice(nice: int) -> None:
    """Add `nice` to our own. Raises NotPermitted."""
    try:
        os.nice(nice)
    except PermissionError as error:
        remedy = "take 0 or more, or run the supervisor as root"
        raise NotPermitted(f"the setting nice {nice} is not permitted: {remedy}") from error


def become_user(name: str) -> None:
    """Drop to `name` with all of its groups; its home becomes HOME. Raises NotPermitted."""
    import pwd
    import warnings  # noqa: F401 - execvp wants it, and this user may not read our interpreter

    entry = pwd.getpwnam(name)
    if entry.pw_uid == os.geteuid():
        return
    try:
        os.initgroups(name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    except PermissionError as error:
        remedy = "leave it out, or run the supervisor as root"
        raise NotPermitted(f"the setting user {name} is not permitted: {remedy}") from error
    os.environ.update(HOME=entry.pw_dir, USER=name, LOGNAME=name)


def restore_open_files(soft: int) -> None:
    """Take the limit of open files that the supervisor was started with: ours is higher."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def main() -> None:
    """Be what MADANG_LAUNCH describes."""
    told = json.loads(os.environ.pop(VARIABLE))
    argv = told["argv"]
    restore_open_files(int(os.environ.pop(OPEN_FILES_VARIABLE)))
    try:
        if told["nice"]:
            take_nice(told["nice"])
        if told["user"]:
            become_user(told["user"])
        if told["directory"]:
            os.chdir(told["directory"])
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != told["supervisor"]:
            sys.exit("madang: the supervisor died before this program started")
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for name in told["pid_variables"]:
            os.environ[name] = str(os.getpid())
        os.execvp(argv[0], argv)
    except NotPermitted as error:
        sys.stderr.write(f"madang: {error}\n")
    except KeyError:
        sys.stderr.write(f"madang: there is no user {told['user']!r}\n")
    except OSError as error:
        where = error.filename or argv[0]
        sys.stderr.write(f"madang: cannot start {where}: {error.strerror}\n")
        sys.exit(EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN)
    sys.exit(EXIT_CANNOT_RUN)


if __name__ == "__main__":
    main()
