"""Processes that left the process group of the program that started them.

A daemon forks twice and begins a session of its own, so that no signal to the group of the program
reaches it. What it inherited still says where it comes from: every program finds in MADANG_LIFE
which supervisor started it and which life of which instance that was.
"""

from __future__ import annotations

import os

from madang.cluster import linux

LIFE = "MADANG_LIFE"
FOLDER = "MADANG_RUNTIME_DIR"


def life(supervisor: int, name: str, incarnation: int) -> str:
    """Return what names one process of an instance."""
    return f"{supervisor}/{name}/{incarnation}"


def life_of(pid: int, runtime_dir: str) -> str:
    """Return the life of an instance below `runtime_dir` that `pid` descends from, "" if none."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return ""
    if os.fsencode(f"{FOLDER}={runtime_dir}") not in words:
        return ""
    mark = f"{LIFE}=".encode()
    return next((os.fsdecode(w.removeprefix(mark)) for w in words if w.startswith(mark)), "")


def left_by(supervisor: int, runtime_dir: str) -> list[int]:
    """Return every process, except this one, that comes from a child of that supervisor."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    mark = f"{supervisor}/"
    return [p for p in pids if p != os.getpid() and life_of(p, runtime_dir).startswith(mark)]


def orphans(known: set[int], lives: set[str], runtime_dir: str) -> list[int]:
    """Return children of this process that come from a life which is not among `lives`.

    Whoever lost its parent has become our child; `known` are those that we started ourselves.
    """
    found = [pid for pid in linux.children(os.getpid()) if pid not in known]
    return [p for p in found if (of := life_of(p, runtime_dir)) and of not in lives]
