"""The pages' own requests, as a browser makes them: cookies, CSRF token, own origin."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from tests.support.venue_fixture import Answer, Venue

CSRF_COOKIE = "madang_csrf"


@dataclass(slots=True)
class Browser:
    """One browser and its cookies."""

    venue: Venue
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """Return what makes a request this browser's."""
        sent = {"Origin": self.venue.url}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent["X-CSRF-Token"] = self.cookies.get(CSRF_COOKIE, "")
        return sent

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """Send one request with the cookies, and keep those that come."""
        answer = self.venue.call(None, method, path, body, **{**self.headers, **headers})
        for line in answer.headers.get("set-cookie", "").splitlines():
            name, _, value = line.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def sign_up(
        self, name: str, password: str, *, attempt: str = "", invitation: str | None = None
    ) -> Answer:
        """Send the form; `attempt` repeats one."""
        body = {
            "name": name,
            "password": password,
            "request_id": attempt or secrets.token_hex(16),
            "invitation": invitation,
        }
        return self.call("POST", "/web/accounts", body)

    def sign_in(self, name: str, password: str) -> Answer:
        """Sign in."""
        return self.call("POST", "/web/session", {"name": name, "password": password})

    def name(self) -> str | None:
        """Return who is signed in."""
        answer = self.call("GET", "/web/session")
        return str(answer.json()["name"]) if answer.status == 200 else None
