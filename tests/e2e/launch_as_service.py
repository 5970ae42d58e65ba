"""What systemd does to a service before its exec: descriptors from 3 on, and LISTEN_PID.

`launch_as_service.py NAMES DESCRIPTORS PROGRAM ARGUMENTS…`, names divided by colons, descriptors by
commas.
"""

from __future__ import annotations

import os
import sys

FIRST_DESCRIPTOR = 3
HIGH = 500


def main() -> None:
    """Become the program."""
    names, numbers, *program = sys.argv[1:]
    found = [int(number) for number in numbers.split(",") if number]
    for index, descriptor in enumerate(found):
        os.dup2(descriptor, HIGH + index, inheritable=False)
    for index in range(len(found)):
        os.dup2(HIGH + index, FIRST_DESCRIPTOR + index, inheritable=True)
    for descriptor in found:
        if descriptor >= FIRST_DESCRIPTOR + len(found):
            os.close(descriptor)
    os.environ |= {"LISTEN_FDS": str(len(found)), "LISTEN_FDNAMES": names}
    os.environ |= {"LISTEN_PID": str(os.getpid()), "WATCHDOG_PID": str(os.getpid())}
    os.execv(program[0], program)


main()
