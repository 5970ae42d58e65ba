"""The TLS context of a worker; a new certificate serves new connections without a restart."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from madang.core.errors import SettingsError

_Stamp = tuple[int, int, int, int]


class Certificate:
    """A certificate and its key on disk, and the context that serves them.

    Invariant: the live context only ever holds a pair that was loaded whole elsewhere first.
    """

    def __init__(self, cert: str, key: str) -> None:
        self._cert = cert
        self._key = key
        self._stamp = self._look()
        try:
            self.context = self._load()
        except (OSError, ssl.SSLError) as error:
            raise SettingsError("edge", "tls_cert, tls_key", f"cannot be used: {error}") from error

    def _look(self) -> _Stamp | None:
        try:
            cert, key = Path(self._cert).stat(), Path(self._key).stat()
        except OSError:
            return None
        return cert.st_mtime_ns, cert.st_ino, key.st_mtime_ns, key.st_ino

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._cert, self._key)
        return context

    def changed(self) -> bool:
        """Tell whether the files are others than the last ones looked at."""
        stamp = self._look()
        if stamp is None or stamp == self._stamp:
            return False
        self._stamp = stamp
        return True

    def reload(self) -> None:
        """Serve the files as they are.

        Raises OSError or ssl.SSLError where they do not fit, and keeps the old pair.
        """
        self._load()
        self.context.load_cert_chain(self._cert, self._key)


class TlsSettings(NamedTuple):
    """What TLS is told; without `cert` there is none."""

    cert: str
    key: str
    check_interval_ms: int
    handshake_timeout_ms: int


class Tls:
    """The TLS of one server: its files are looked at now and then."""

    def __init__(self, settings: TlsSettings, log: FilteringBoundLogger) -> None:
        self._certificate = Certificate(settings.cert, settings.key) if settings.cert else None
        self._interval_s = settings.check_interval_ms / 1000
        self._checked_s = 0.0
        self._log = log
        self.handshake_timeout_s = settings.handshake_timeout_ms / 1000

    @property
    def context(self) -> ssl.SSLContext | None:
        """The context that serves, None without TLS."""
        return self._certificate.context if self._certificate is not None else None

    def check(self, now_s: float) -> None:
        """Serve new files where there are some; what does not fit is said and not served."""
        certificate = self._certificate
        if certificate is None or now_s - self._checked_s < self._interval_s:
            return
        self._checked_s = now_s
        if certificate.changed():
            try:
                certificate.reload()
                self._log.info("certificate reloaded")
            except (OSError, ssl.SSLError) as error:
                self._log.error("certificate not reloaded", reason=str(error))
