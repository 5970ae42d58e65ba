"""The port of the matching engine: what the venue, the ledger and the feed ask of one.

An engine is a deterministic state machine. The same batches give the same events, the same snapshot
and the same hash in every implementation; a test compares them command by command.
"""

from __future__ import annotations

from typing import Protocol


class Engine(Protocol):
    """A state machine over batches of commands; layouts are in `madang.wire`."""

    @property
    def sequence(self) -> int:
        """The number of the last command applied; 0 in the beginning."""
        ...

    @property
    def now_ns(self) -> int:
        """The time of the last batch applied."""
        ...

    def apply(self, batch: bytes) -> bytes:
        """Apply one batch record and return its events, concatenated."""
        ...

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        ...

    def state_hash(self) -> bytes:
        """Return the SHA-256 of the snapshot."""
        ...

    def order(self, order_id: int) -> bytes | None:
        """Return the ORDER record of a live order."""
        ...

    def orders(self, account: int) -> bytes:
        """Return the ORDER records of an account's live orders, ascending by id."""
        ...

    def account(self, account: int) -> bytes | None:
        """Return an ACCOUNT record."""
        ...

    def accounts(self, after: int, limit: int) -> bytes:
        """Return at most `limit` ACCOUNT records with numbers above `after`."""
        ...

    def positions(self, account: int) -> bytes:
        """Return the POSITION records of an account, ascending by instrument."""
        ...

    def instruments(self) -> bytes:
        """Return all INSTRUMENT records, ascending by number."""
        ...

    def credentials(self, after: int, limit: int) -> bytes:
        """Return at most `limit` CREDENTIAL records with numbers above `after`."""
        ...

    def depth(self, instrument: int, levels: int) -> bytes:
        """Return LEVEL records: at most `levels` bids, then as many asks, best first."""
        ...

    def check(self) -> None:
        """Check every invariant in full; AssertionError names the one that does not hold."""
        ...

    def statistics(self) -> dict[str, int]:
        """Return the counts `orders`, `keys`, `requests`, `accounts` and `trades`."""
        ...
