"""Reading recorded files line by line; what cannot be read is named by its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from madang.core.errors import MadangError

LINE_SHOWN_MAX = 100

Parsed = TypeVar("Parsed")


class ReplayFileError(MadangError):
    """A line of a recorded file is not what it should be."""


def read_lines(
    lines: Iterable[str], parse: Callable[[str], Parsed], what: str, first_line: int = 1
) -> Iterator[Parsed]:
    """Yield what each line says; `what` names it in the error for one that cannot be read."""
    for number, line in enumerate(lines, first_line):
        text = line.strip()
        try:
            parsed = parse(text)
        except (ValueError, ArithmeticError, LookupError) as error:
            shown = text[:LINE_SHOWN_MAX]
            message = f"line {number} is not a {what}: {shown!r}"
            raise ReplayFileError(message, line=number) from error
        yield parsed
