"""Which settings of a running application are not those that a file describes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

Settings = Mapping[str, object]
MISSING = object()


def changed(wanted: Settings, running: Settings, first: object) -> list[str]:
    """Return the names of the settings that differ, one for each variable of the environment.

    `wanted` and `running` are encoded applications, `running` with the number of instances that
    there are now. `first` is the number that it was started with: who scaled it changed no setting.
    """
    wanted = json.loads(json.dumps(wanted))
    found: list[str] = []
    for name in sorted({*wanted, *running}):
        mine, other = wanted.get(name, MISSING), running.get(name, MISSING)
        if mine == other or (name == "instances" and mine == first):
            continue
        if name == "environment" and isinstance(mine, dict) and isinstance(other, dict):
            variables = sorted({*mine, *other})
            found += [f"environment.{key}" for key in variables if mine.get(key) != other.get(key)]
        else:
            found.append(name)
    return found
