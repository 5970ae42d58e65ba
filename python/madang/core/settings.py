"""Settings: plain tables in, frozen validated structs out.

A layer declares a `msgspec.Struct(frozen=True, forbid_unknown_fields=True)`; an unknown key or a
bad value becomes a SettingsError that names the source, the key and what was expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import msgspec

from madang.core.errors import SettingsError

Section = TypeVar("Section")


def decode_section(
    kind: type[Section], table: Mapping[str, object], source: str, section: str
) -> Section:
    """Convert one table of `source` (a file, "environment") to `kind`, or raise SettingsError."""
    try:
        return msgspec.convert(dict(table), kind, strict=False)
    except msgspec.ValidationError as error:
        what, _, where = str(error).partition(" - at `$")
        key = section + where.rstrip("`") if where else section
        raise SettingsError(source, f"[{key}]", what) from error
