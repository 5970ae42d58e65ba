"""What an instrument may be called, and where it may be listed.

Clients put a symbol into paths and comma-separated lists, processes into the subjects they publish
on; Alpaca's clients refuse an exchange that they do not know. Pure.
"""

from __future__ import annotations

import re
from typing import Final

SYMBOL_CHARACTERS_MAX: Final = 16
EXCHANGES: Final = frozenset(("AMEX", "ARCA", "ASCX", "BATS", "NYSE", "NASDAQ", "NYSEARCA", "OTC"))
SYMBOL_RULE: Final = (
    f"1 to {SYMBOL_CHARACTERS_MAX} capital letters and digits, which . or - may join"
)
EXCHANGE_RULE: Final = f"one of {', '.join(sorted(EXCHANGES))}"
_SYMBOL: Final = re.compile(r"[A-Z0-9]+(?:[.-][A-Z0-9]+)*")


def is_symbol(text: str) -> bool:
    """Tell whether an instrument may be called so."""
    return len(text) <= SYMBOL_CHARACTERS_MAX and _SYMBOL.fullmatch(text) is not None


def is_exchange(text: str) -> bool:
    """Tell whether it is a code that Alpaca's clients know."""
    return text in EXCHANGES


def subject_token(symbol: str) -> str:
    """Return what stands for a symbol in a subject; a log may hold symbols of any bytes."""
    return symbol if is_symbol(symbol) else f"~{symbol.encode().hex()}"
