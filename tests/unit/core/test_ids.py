"""Random ids: never the same twice, not in a process that was forked either."""

from __future__ import annotations

import subprocess
import sys
import uuid

from madang.core.ids import new_request_id, new_uuid

FORKED = """
import os, sys
from madang.core.ids import new_request_id
new_request_id()  # more are drawn than are used
if os.fork() == 0:
    sys.stdout.write("".join(new_request_id().hex() + "\\n" for _ in range(500)))
    sys.stdout.flush()
    os._exit(0)
os.wait()
sys.stdout.write("".join(new_request_id().hex() + "\\n" for _ in range(500)))
"""


def test_ids_differ_and_are_random_uuids() -> None:
    ids = {new_request_id() for _ in range(1_000)}
    assert len(ids) == 1_000
    assert {len(one) for one in ids} == {16}
    for _ in range(100):
        text = new_uuid()
        found = uuid.UUID(text)
        assert (found.version, found.variant, str(found)) == (4, uuid.RFC_4122, text)


def test_a_forked_process_draws_its_own() -> None:
    command = [sys.executable, "-c", FORKED]
    ids = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    assert len(ids.split()) == len(set(ids.split())) == 1_000
