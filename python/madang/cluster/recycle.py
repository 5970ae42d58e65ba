"""When an instance is due to be replaced, though nothing is wrong with it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from madang.cluster.settings import ApplicationSettings

AGE_SPREAD = 8
"""Ages are spread over an eighth of the limit, so that slots of one age do not fall due at once."""
MEGABYTE = 1_048_576


@dataclass(frozen=True, slots=True)
class Wear:
    """What an instance has used up."""

    slot: int
    rss: int
    age_s: int
    requests: int


def reason(wear: Wear, settings: ApplicationSettings) -> str:
    """Return why the instance is to be replaced, "" while it is not."""
    if settings.memory_max_bytes and wear.rss > settings.memory_max_bytes:
        limit = settings.memory_max_bytes / MEGABYTE
        return f"memory {wear.rss / MEGABYTE:.0f} MB over {limit:.0f} MB"
    limit_s = settings.age_max_s + settings.age_max_s * (wear.slot % AGE_SPREAD) // AGE_SPREAD**2
    if settings.age_max_s and wear.age_s >= limit_s:
        return f"age {wear.age_s} s over {settings.age_max_s} s"
    if settings.requests_max and wear.requests >= settings.requests_max:
        return f"{wear.requests} requests over {settings.requests_max}"
    return ""
