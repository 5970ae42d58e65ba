"""A program that knows nothing of Madang and behaves badly, in the way that its first word says."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

MEGABYTE = 1024 * 1024
SLEEPER = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def notify(text: str) -> None:
    """Say something by sd_notify(3)."""
    address = os.environ["NOTIFY_SOCKET"]
    address = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.sendto(text.encode(), address)


def deaf() -> None:
    """Ignore every polite wish."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    notify("READY=1")
    while True:
        time.sleep(600)


def crash() -> None:
    """Say why, and die."""
    print("reading the settings")
    print("cannot reach the database at 10.0.0.7", file=sys.stderr)
    sys.exit(3)


def fork() -> None:
    """Have three children that ignore SIGTERM, one of them in a session of its own."""
    for own in (False, False, True):
        subprocess.Popen([sys.executable, "-c", SLEEPER], start_new_session=own)
    notify("READY=1")
    signal.pause()


def pour(megabytes: int) -> None:
    """Write so much as fast as it is taken, then say how long that took and wait."""
    block = (b"x" * 99 + b"\n") * (MEGABYTE // 100)
    notify("READY=1")
    began_s = time.monotonic()
    written = 0
    while written < megabytes * MEGABYTE:
        written += os.write(1, block)
    os.write(1, b"the last line\n")
    notify(f"STATUS=poured in {time.monotonic() - began_s:.1f} s")
    signal.pause()


def chat() -> None:
    """Write numbered lines for ever and say how far it is."""
    notify("READY=1")
    number = 0
    while True:
        for _ in range(50):
            number += 1
            print(f"line {number} " + "x" * 80)
        notify(f"STATUS=at {number}")
        time.sleep(0.01)


def stepped() -> None:
    """Speak by a clock that jumps, with values that nobody should believe."""
    notify("READY=1\nWATCHDOG=1\nSTATUS=the clock says 1970")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        step_s = time.clock_gettime(time.CLOCK_MONOTONIC)
        notify(f"WATCHDOG=1\nWATCHDOG_USEC=1\nMAINPID=1\nMONOTONIC_USEC=-1\nSTATUS=at {step_s:.0f}")
        time.sleep(0.1)


def main() -> None:
    """Do what the command line says."""
    words = sys.argv[1:]
    match words:
        case ["pour", megabytes]:
            pour(int(megabytes))
        case [word]:
            {"deaf": deaf, "crash": crash, "fork": fork, "chat": chat, "stepped": stepped}[word]()
        case _:
            sys.exit(f"unknown: {words}")


main()
