"""`madang init`: a settings file to begin with, and the administrator."""

from __future__ import annotations

import secrets
from pathlib import Path

from argon2 import PasswordHasher

from madang.cli.app import prepare_state
from madang.cli.settings import FILE
from madang.core.errors import SettingsError
from madang.core.ids import new_request_id
from madang.exchange.bootstrap import PENDING, AccountPlan, save_plans
from madang.exchange.operator import new_api_key, secret_digest

PASSWORD_BYTES = 15
TEMPLATE = """\
# Madang's settings. MADANG_<SECTION>_<KEY> in the environment and flags go before what stands here.

[cluster]
state_dir = ".madang"
workers = "max"
# metrics_port = 9100         # /metrics on loopback too; metrics_host for elsewhere

[edge]
host = "127.0.0.1"
port = 8000
# tls_cert = "cert.pem"
# tls_key = "key.pem"

# [balancer]                  # for `madang balancer nginx | haproxy | alb | nlb`
# nodes = ["10.0.0.1:8000", "10.0.0.2:8000"]
# server_name = "market.example.com"

[venue]
# engine = "rust"            # refuse to start without the compiled engine
# timezone = "America/New_York"
# fees = { maker_ppm = 0, taker_ppm = 0 }   # parts per million of a fill's value
# hours = [{ days = ["mon", "tue", "wed", "thu", "fri"], open = 09:30:00, close = 16:00:00 }]

[accounts]
# registration = "invite"    # "open", "invite" (see `madang account invite`) or "closed"

[[venue.instruments]]
symbol = "AAPL"
name = "Apple"
exchange = "NASDAQ"
tick = "0.01"
lot = "0.000000001"
reference_price = "227.00"
"""


def init(folder: Path, name: str) -> list[str]:
    """Write madang.toml and plan the administrator; returns what to tell, secrets included."""
    path = folder / FILE
    if path.exists():
        raise SettingsError(str(path), "file", "exists already; remove it to begin anew")
    state_dir = (folder / ".madang").absolute()
    prepare_state(state_dir)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    key_id, secret = new_api_key()
    plan = AccountPlan(
        name,
        new_request_id().hex(),
        role="admin",
        password_hash=PasswordHasher().hash(password),
        keys={key_id: secret_digest(secret)},
    )
    save_plans(state_dir / PENDING, [plan])
    path.write_text(TEMPLATE)
    return [
        f"wrote {path}",
        f"administrator {name}",
        f"  password  {password}",
        f"  API key   {key_id}",
        f"  secret    {secret}",
        "these are shown only now; `madang up` starts the venue",
    ]
