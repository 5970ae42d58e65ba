"""When a cron expression is next due. Pure but for the time zone of the machine."""

from __future__ import annotations

from datetime import datetime


def next_after(expression: str, wall_s: float) -> float:
    """Return the first time after `wall_s` (both Unix seconds) that `expression` names.

    Five fields as in cron(5), in the machine's time zone. Raises ValueError saying what is wrong.
    """
    # Imported where it is needed: most clusters have no schedule, and the supervisor stays small.
    from cronsim import CronSim, CronSimError

    try:
        after = datetime.fromtimestamp(wall_s).astimezone()
        return next(CronSim(expression, after)).timestamp()
    except (CronSimError, StopIteration) as error:
        text = f"{expression!r} names no time ({error})"
        raise ValueError(text) from error
