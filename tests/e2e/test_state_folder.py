"""What the running product keeps on disk belongs to its owner alone, and holds no secret."""

from __future__ import annotations

import stat
from pathlib import Path

from tests.support.venue_fixture import running_venue

OTHERS = stat.S_IRWXG | stat.S_IRWXO


def test_nobody_else_reads_the_state_and_no_secret_is_in_it(tmp_path: Path) -> None:
    with running_venue(tmp_path, "ann", workers=1) as venue:
        venue.order("ann", symbol="AAPL", side="buy", type="market", time_in_force="day", qty=1)
        assert venue.call("ann", "GET", "/v2/orders?status=all").status == 200
        found = sorted(venue.state.rglob("*"))
        assert any(path.name == "ledger.db" for path in found)
        assert [str(p) for p in found if p.lstat().st_mode & OTHERS] == []
        secret = venue.people["ann"].secret.encode()
        files = [path for path in found if path.is_file()]
        assert [str(path) for path in files if secret in path.read_bytes()] == []
