"""What makes a password good enough, the same wherever one is chosen. Pure.

Length is what counts (NIST SP 800-63B section 5.1.1.2): no rules of composition, but nothing that
everybody tries first, and not one's own name.
"""

from __future__ import annotations

import itertools
from typing import Final

LENGTH_MIN: Final = 10
LENGTH_MAX: Final = 128
NAME_LENGTH_MIN: Final = 3
"""A shorter name may be in a password."""
DIFFERENT_MIN: Final = 5
"""Different characters in a password."""
_TRIED_FIRST: Final = frozenset(
    [
        "1234567890",
        "0123456789",
        "0987654321",
        "9876543210",
        "12345678910",
        "123456789a",
        "a123456789",
        "123456789q",
        "1234567891",
        "1029384756",
        "1q2w3e4r5t",
        "1qaz2wsx3edc",
        "q1w2e3r4t5",
        "qwertyuiop",
        "qwerty12345",
        "qwerty123456",
        "qwertyuiop123",
        "asdfghjkl1",
        "asdfghjkl123",
        "zxcvbnm123",
        "abcdefghij",
        "abcdefghijk",
        "abcd123456",
        "abc1234567",
        "abcdef1234",
        "password12",
        "password123",
        "password1234",
        "password12345",
        "password123456",
        "passw0rd123",
        "passw0rd12",
        "p@ssw0rd123",
        "passwordpassword",
        "mypassword",
        "mypassword1",
        "changeme123",
        "changeme12",
        "letmein123",
        "letmein1234",
        "welcome123",
        "welcome1234",
        "iloveyou12",
        "iloveyou123",
        "iloveyou1234",
        "administrator",
        "admin12345",
        "admin123456",
        "football123",
        "baseball123",
        "basketball",
        "superman123",
        "sunshine123",
        "princess123",
        "dragon12345",
        "monkey12345",
        "trustno1234",
        "starwars123",
        "michael123",
        "liverpool1",
        "manchester",
        "computer123",
        "internet123",
        "whatever123",
        "samsung123",
        "qazwsxedcrfv",
        "alexander1",
        "chocolate1",
        "butterfly1",
    ]
)


def weakness(password: str, name: str) -> str | None:
    """Return what is wrong with a password for a name, None where it will do."""
    folded = password.casefold()
    if len(password) < LENGTH_MIN:
        return f"a password has at least {LENGTH_MIN} characters"
    if len(password) > LENGTH_MAX:
        return f"a password has at most {LENGTH_MAX} characters"
    if len(name) >= NAME_LENGTH_MIN and name.casefold() in folded:
        return "a password may not contain the name"
    if folded in _TRIED_FIRST or len(set(folded)) < DIFFERENT_MIN or _is_run(folded):
        return "this password is among those that are tried first"
    return None


def _is_run(text: str) -> bool:
    """Tell whether each character follows the one before, up or down."""
    steps = {ord(after) - ord(before) for before, after in itertools.pairwise(text)}
    return steps in ({1}, {-1})
