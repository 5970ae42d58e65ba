"""The signed session cookie: who is signed in, until when, and with which password.

Text is `account.expires_s.tag.mac` in decimal and hex. The tag is derived from the stored password,
so a new password ends every session of the old one; nothing is kept on the server. Pure, but for
`load_secret`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from pathlib import Path
from typing import Final, NamedTuple

from madang.core.errors import SettingsError

SESSION_COOKIE: Final = "madang_session"
CSRF_COOKIE: Final = "madang_csrf"
SESSION_SECONDS: Final = 12 * 3_600
SECRET_BYTES: Final = 32
COOKIE_CHARACTERS_MAX: Final = 200


class SessionClaim(NamedTuple):
    """What a valid cookie says."""

    account: int
    expires_s: int
    tag: str


def password_tag(encoded_password: str) -> str:
    """Return the text that ties a session to one stored password."""
    return hashlib.sha256(b"session" + encoded_password.encode()).hexdigest()[:16]


def sign_session(secret: bytes, claim: SessionClaim) -> str:
    """Return the cookie's value."""
    text = f"{claim.account}.{claim.expires_s}.{claim.tag}"
    return f"{text}.{_mac(secret, text)}"


def read_session(secret: bytes, value: str, now_s: int) -> SessionClaim | None:
    """Return what a cookie says, None where it is not ours or is over."""
    if len(value) > COOKIE_CHARACTERS_MAX or not value.isascii():
        return None
    text, _, mac = value.rpartition(".")
    if not hmac.compare_digest(_mac(secret, text), mac):
        return None
    account, expires, tag = text.split(".")
    claim = SessionClaim(int(account), int(expires), tag)
    return claim if now_s < claim.expires_s else None


def csrf_token(secret: bytes, session: str) -> str:
    """Return the token that belongs to a session."""
    return _mac(secret, "csrf" + session)[:32]


def _mac(secret: bytes, text: str) -> str:
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def load_secret(state_dir: Path) -> bytes:
    """Return the state folder's secret, made by whoever comes first; only its owner reads it."""
    path = state_dir / "session.key"
    if not path.exists():
        state_dir.mkdir(parents=True, exist_ok=True)
        fresh = state_dir / f".session.key.{os.getpid()}"
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, os.urandom(SECRET_BYTES))
            os.fsync(handle)
        finally:
            os.close(handle)
        with contextlib.suppress(FileExistsError):
            os.link(fresh, path)
        fresh.unlink()
    secret = path.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise SettingsError(str(path), "secret", "is damaged: delete the file to end all sessions")
    return secret
