"""Who may make an account, what it may be called, and invitations. Pure but for fresh secrets.

An invitation is 256 random bits that only their SHA-256 is kept of; whoever holds the text may make
one account.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

NAME_PATTERN: Final = r"^[a-z0-9](?:[._-]?[a-z0-9]){2,31}$"
NAME_RULE: Final = (
    "a name has 3 to 32 lower-case letters and digits, with single dots, dashes or underscores "
    "between them"
)
NAME_CHARACTERS_MAX: Final = 32
INVITATION_PREFIX: Final = "MI"
INVITATION_BYTES: Final = 32
IPV6_NETWORK_BITS: Final = 64
"""What one household or host gets of IPv6."""
_NAME: Final = re.compile(NAME_PATTERN)
_RESERVED: Final = frozenset(
    (
        "admin", "administrator", "api", "fees", "help", "madang", "market", "moderator",
        "operator", "root", "security", "support", "system", "trader", "venue",
    )
)  # fmt: skip

Registration = Literal["open", "invite", "closed"]


class AccountsSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """`[accounts]`: who may sign up, and how much one may have; rates are per worker."""

    registration: Registration = "closed"
    sign_ups_per_hour: Annotated[int, Meta(ge=1)] = 20
    """Tries from one address, whatever comes of them."""
    accounts_max: Annotated[int, Meta(ge=1)] = 100_000
    """Sign-ups end here; the operator may make more."""
    keys_max: Annotated[int, Meta(ge=1)] = 20
    """API keys that the owner of an account may make."""


def is_name(text: str) -> bool:
    """Tell whether somebody may call themselves so."""
    return len(text) <= NAME_CHARACTERS_MAX and _NAME.fullmatch(text) is not None


def is_reserved(name: str) -> bool:
    """Tell whether a name would let its owner pass for the operator."""
    return re.sub(r"[._-]|[0-9]+$", "", name) in _RESERVED


def new_invitation() -> str:
    """Return a fresh invitation."""
    return INVITATION_PREFIX + secrets.token_urlsafe(INVITATION_BYTES)


def invitation_digest(invitation: str) -> str:
    """Return what is kept of an invitation."""
    return hashlib.sha256(b"invitation" + invitation.strip().encode(errors="replace")).hexdigest()


def command_id(attempt: str, step: str, name: str) -> bytes:
    """Return the request id of one step of a sign-up: the same again when it is repeated."""
    return hashlib.sha256(f"sign-up\0{attempt}\0{step}\0{name}".encode()).digest()[:16]


def neighbourhood(address: str) -> str:
    """Return what sign-ups are counted by: an IPv4 address, or the network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))
