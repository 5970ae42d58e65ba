"""The readable engine: applies batches of commands to the state, one after another.

It is the specification, the oracle for the fast engine, and the fallback where that is not
installed. Every command ends with exactly one RESULT; a command with a request id is applied once
for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from madang.exchange.engine import accounts, market, orders, queries, snapshot
from madang.exchange.engine.commands import Command, read_command
from madang.exchange.engine.events import Answer
from madang.exchange.engine.invariants import check_state
from madang.exchange.engine.replacing import replace_order
from madang.exchange.engine.state import Outcome, State
from madang.wire.batch import BatchHeader, commands_of, parse_batch
from madang.wire.codes import Reason
from madang.wire.commands import HEADER, NO_REQUEST, CommandKind, split_commands

Handler = Callable[[State, Command], Answer]

_HANDLERS: dict[int, Handler] = {
    CommandKind.NEW_ORDER: orders.new_order,
    CommandKind.REPLACE_ORDER: replace_order,
    CommandKind.CANCEL_ORDER: orders.cancel_order,
    CommandKind.CANCEL_ALL: orders.cancel_all_orders,
    CommandKind.TRANSFER: accounts.transfer,
    CommandKind.CREATE_ACCOUNT: accounts.create_account,
    CommandKind.SET_ACCOUNT: accounts.set_account,
    CommandKind.SET_CREDENTIAL: accounts.set_credential,
    CommandKind.SET_INSTRUMENT: market.set_instrument,
    CommandKind.SET_SESSION: market.set_session,
    CommandKind.SET_FEES: market.set_fees,
    CommandKind.END_DAY: market.end_day,
    CommandKind.EXPIRE_KEYS: market.expire_keys,
    CommandKind.SET_RULES: market.set_rules,
    CommandKind.SET_LIMITS: market.set_limits,
}
_WITH_KEY = (CommandKind.NEW_ORDER, CommandKind.REPLACE_ORDER)
_ABOUT_AN_ORDER = (CommandKind.NEW_ORDER, CommandKind.REPLACE_ORDER, CommandKind.CANCEL_ORDER)


class PythonEngine:
    """The engine in Python; see `madang.exchange.engine.port` for what the methods mean."""

    def __init__(self) -> None:
        self._state = State()
        accounts.add_account(self._state, accounts.FEE_ACCOUNT_NAME, created_ns=0)

    @classmethod
    def restore(cls, data: bytes) -> PythonEngine:
        """Return an engine in the state of a snapshot; SnapshotError when it is damaged."""
        engine = cls()
        engine._state = snapshot.restore(data)
        return engine

    @property
    def sequence(self) -> int:
        """The number of the last command applied."""
        return self._state.sequence

    @property
    def now_ns(self) -> int:
        """The time of the last command applied."""
        return self._state.now_ns

    def apply(self, batch: bytes) -> bytes:
        """Apply one batch record and return its events, concatenated."""
        state = self._state
        header = parse_batch(batch)
        assert isinstance(header, BatchHeader), "the batch was checked before"
        assert header.sequence == state.sequence + 1, "batches come in sequence"
        assert header.now_ns > state.now_ns, "time goes forward"
        count = 0
        for record in split_commands(commands_of(batch, header)):
            state.sequence += 1
            state.events.sequence = state.sequence
            state.now_ns = state.events.now_ns = header.now_ns + count
            _apply_record(state, record)
            count += 1
        assert count == header.command_count, "the batch counts its commands"
        return state.events.take()

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes."""
        return snapshot.snapshot(self._state)

    def state_hash(self) -> bytes:
        """Return the SHA-256 of the snapshot."""
        return hashlib.sha256(self.snapshot()).digest()

    def order(self, order_id: int) -> bytes | None:
        """Return the ORDER record of a live order."""
        return queries.order(self._state, order_id)

    def orders(self, account: int) -> bytes:
        """Return the ORDER records of an account's live orders, ascending by id."""
        return queries.orders(self._state, account)

    def account(self, account: int) -> bytes | None:
        """Return an ACCOUNT record."""
        return queries.account(self._state, account)

    def accounts(self, after: int, limit: int) -> bytes:
        """Return at most `limit` ACCOUNT records with numbers above `after`."""
        return queries.accounts(self._state, after, limit)

    def positions(self, account: int) -> bytes:
        """Return the POSITION records of an account, ascending by instrument."""
        return queries.positions(self._state, account)

    def instruments(self) -> bytes:
        """Return all INSTRUMENT records, ascending by number."""
        return queries.instruments(self._state)

    def credentials(self, after: int, limit: int) -> bytes:
        """Return at most `limit` CREDENTIAL records with numbers above `after`."""
        return queries.credentials(self._state, after, limit)

    def depth(self, instrument: int, levels: int) -> bytes:
        """Return LEVEL records: bids best first, then asks best first."""
        return queries.depth(self._state, instrument, levels)

    def check(self) -> None:
        """Check every invariant in full."""
        check_state(self._state)

    def statistics(self) -> dict[str, int]:
        """Return counts of what the engine keeps."""
        return queries.statistics(self._state)


def _apply_record(state: State, record: bytes) -> None:
    """Apply one command record and write its RESULT."""
    _, kind, _, account, request_id = HEADER.unpack_from(record)
    if request_id != NO_REQUEST:
        outcome = state.outcomes.get(request_id)
        if outcome is not None:
            answer = _first_answer(state, outcome)
            state.events.result(account, request_id, kind, answer, repeat=True)
            return
    command = read_command(record)
    if command is None:
        answer = Answer(Reason.BAD_COMMAND)
    elif kind in _WITH_KEY and max(len(state.keys), len(state.outcomes)) >= state.keys_max:
        number = command.fields[0] if kind == CommandKind.REPLACE_ORDER else 0
        answer = Answer(Reason.TOO_MANY_KEYS, number, a=state.keys_max)
        state.events.result(account, request_id, kind, answer, repeat=False)
        return
    else:
        answer = _HANDLERS[kind](state, command)
    if request_id != NO_REQUEST:
        state.outcomes[request_id] = Outcome(
            answer.reason, kind, state.session_number, answer.number, answer.a, answer.b
        )
    state.events.result(account, request_id, kind, answer, repeat=False)


def _first_answer(state: State, outcome: Outcome) -> Answer:
    """Return what a repeated command came to the first time, with its order if that still lives."""
    order = None
    if outcome.reason == Reason.OK and outcome.kind in _ABOUT_AN_ORDER:
        order = state.orders.get(outcome.number)
    return Answer(outcome.reason, outcome.number, outcome.a, outcome.b, order)
