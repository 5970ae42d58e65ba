"""The restart policy: every pair of state and event, and what holds over any history."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madang.cluster import policy
from madang.cluster.policy import Action, Event, Instance, Limits, State

LIMITS = Limits(
    start_ns=1_000,
    stop_ns=500,
    stall_ns=100,
    abort_ns=400,
    kill_ns=50,
    busy_ns=2_000,
    min_uptime_ns=200,
    backoff_ns=100,
    backoff_max_ns=1_600,
    max_restarts=6,
)
SAMPLES: tuple[Event, ...] = (
    policy.Start(),
    policy.Ready(),
    policy.Heartbeat(),
    policy.Excused(50),
    policy.Exited("exit 1", 0),
    policy.Tick(),
    policy.Stop(),
    policy.Kill(),
)
HAS_NO_PROCESS = (State.IDLE, State.BACKOFF, State.ERRORED, State.STOPPED)
NEEDS_PROCESS = (policy.Ready, policy.Heartbeat, policy.Excused, policy.Exited)


def run(*events: tuple[int, Event], limits: Limits = LIMITS) -> tuple[Instance, list[Action]]:
    """Feed events at their times; return the instance and the actions of the last one."""
    instance = Instance()
    actions: tuple[Action, ...] = ()
    for now_ns, event in events:
        instance, actions = policy.step(instance, event, now_ns, limits)
    return instance, list(actions)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", SAMPLES, ids=lambda event: type(event).__name__)
def test_every_pair_is_a_rule_or_ignored_or_a_defect_of_the_caller(
    state: State, event: Event
) -> None:
    pair = (state, type(event))
    assert not (pair in policy.TABLE and pair in policy.IGNORED)
    instance = Instance(state=state, since_ns=1_000, heartbeat_ns=1_000)
    if pair in policy.TABLE or pair in policy.IGNORED:
        after, actions = policy.step(instance, event, 1_000, LIMITS)
        assert pair in policy.TABLE or (after, actions) == (instance, ())
    else:
        assert state in HAS_NO_PROCESS
        assert isinstance(event, NEEDS_PROCESS)
        with pytest.raises(AssertionError, match=f"{state} cannot see"):
            policy.step(instance, event, 1_000, LIMITS)


def test_a_start_spawns_and_readiness_admits() -> None:
    assert run((0, policy.Start()))[1] == [Action.SPAWN]
    instance, actions = run((0, policy.Start()), (5, policy.Ready()))
    assert (instance.state, actions) == (State.READY, [Action.ADMIT])


def test_the_first_restart_is_immediate() -> None:
    instance, actions = run((0, policy.Start()), (5, policy.Exited("exit 1", 999)))
    assert (instance.state, actions) == (State.STARTING, [Action.SPAWN])
    assert (instance.restarts, instance.last_exit) == (1, "exit 1")


def test_a_ready_child_that_dies_gets_no_more_connections_before_it_is_replaced() -> None:
    _, actions = run((0, policy.Start()), (5, policy.Ready()), (6, policy.Exited("SIGKILL", 0)))
    assert actions == [Action.WITHDRAW, Action.SPAWN]


def test_restarts_back_off_and_end_as_errored_with_the_last_exit() -> None:
    now_ns = 0
    waits: list[int] = []
    instance, actions = policy.step(Instance(), policy.Start(), now_ns, LIMITS)
    while instance.state is not State.ERRORED:
        died_ns = now_ns
        event = policy.Exited(f"exit {len(waits)}", 0)
        instance, actions = policy.step(instance, event, now_ns, LIMITS)
        if instance.state is State.BACKOFF:
            early, none = policy.step(instance, policy.Tick(), instance.resume_ns - 1, LIMITS)
            assert (early, none) == (instance, ())
            now_ns = instance.resume_ns
            instance, actions = policy.step(instance, policy.Tick(), now_ns, LIMITS)
        if instance.state is State.STARTING:
            assert actions == (Action.SPAWN,)
            waits.append(now_ns - died_ns)
    assert waits == [0, 50, 100, 200, 400, 800]
    assert actions == (Action.REPORT,)
    assert instance.last_exit == "exit 6"


def test_jitter_spreads_the_upper_half_of_the_wait() -> None:
    waits = [policy.backoff_ns(4, jitter, LIMITS) for jitter in range(policy.JITTER_SCALE + 1)]
    assert (min(waits), max(waits)) == (200, 400)
    assert policy.backoff_ns(1_000_000, policy.JITTER_SCALE, LIMITS) == LIMITS.backoff_max_ns


def test_a_run_of_min_uptime_forgives_earlier_deaths() -> None:
    died = Instance(state=State.READY, ready_ns=1_000, failures=LIMITS.max_restarts)
    short, _ = policy.step(died, policy.Exited("exit 1", 0), 1_199, LIMITS)
    enough, actions = policy.step(died, policy.Exited("exit 1", 0), 1_200, LIMITS)
    assert short.state is State.ERRORED
    assert (enough.state, enough.failures) == (State.STARTING, 0)
    assert Action.SPAWN in actions


def test_silence_withdraws_then_aborts_then_kills() -> None:
    history: list[tuple[int, Event]] = [
        (0, policy.Start()),
        (10, policy.Ready()),
        (10, policy.Heartbeat()),
    ]
    for now_ns, state, actions in (
        (109, State.READY, []),
        (110, State.STALLED, [Action.WITHDRAW]),
        (409, State.STALLED, []),
        (410, State.ABORTING, [Action.ABORT]),
        (459, State.ABORTING, []),
        (460, State.ABORTING, [Action.KILL]),
        (510, State.ABORTING, [Action.KILL]),
    ):
        history.append((now_ns, policy.Tick()))
        instance, done = run(*history)
        assert (instance.state, done) == (state, actions)
    instance, _ = run(*history, (520, policy.Exited("SIGKILL", 0)))
    assert instance.last_exit == "hung: no heartbeat for 0 ms (SIGKILL)"


def test_a_heartbeat_ends_a_stall() -> None:
    stalled = Instance(state=State.STALLED, heartbeat_ns=0)
    instance, actions = policy.step(stalled, policy.Heartbeat(), 300, LIMITS)
    assert (instance.state, actions) == (State.READY, (Action.ADMIT,))
    assert policy.deadline_ns(instance, LIMITS) == 400


def test_excused_silence_puts_the_end_off_but_not_for_ever() -> None:
    stalled = Instance(state=State.STALLED, heartbeat_ns=0, watched=True)
    assert policy.deadline_ns(stalled, LIMITS) == 400
    excused, actions = policy.step(stalled, policy.Excused(150), 300, LIMITS)
    assert (policy.deadline_ns(excused, LIMITS), actions) == (550, ())
    assert policy.step(excused, policy.Tick(), 549, LIMITS) == (excused, ())
    instance, actions = policy.step(excused, policy.Tick(), 550, LIMITS)
    assert (instance.state, actions) == (State.ABORTING, (Action.ABORT,))
    endless, _ = policy.step(stalled, policy.Excused(10**9), 300, LIMITS)
    assert policy.deadline_ns(endless, LIMITS) == LIMITS.busy_ns
    alive, _ = policy.step(endless, policy.Heartbeat(), 310, LIMITS)
    assert alive.excused_ns == 0


def test_a_process_that_never_sent_a_heartbeat_is_not_judged_by_it() -> None:
    instance, _ = run((0, policy.Start()), (10, policy.Ready()))
    assert policy.deadline_ns(instance, LIMITS) is None
    assert run((0, policy.Start()), (10, policy.Ready()), (10**9, policy.Tick()))[1] == []


def test_a_child_that_is_not_ready_in_time_is_ended() -> None:
    instance, actions = run((0, policy.Start()), (1_000, policy.Tick()))
    assert (instance.state, actions) == (State.ABORTING, [Action.ABORT])


def test_a_stop_is_asked_for_then_enforced() -> None:
    history: list[tuple[int, Event]] = [
        (0, policy.Start()),
        (1, policy.Ready()),
        (2, policy.Stop()),
    ]
    assert run(*history)[1] == [Action.WITHDRAW, Action.TERMINATE]
    assert run(*history, (501, policy.Tick()))[1] == []
    assert run(*history, (502, policy.Tick()))[1] == [Action.KILL]
    instance, actions = run(*history, (5, policy.Exited("exit 0", 0)))
    assert (instance.state, actions) == (State.STOPPED, [])


def test_a_stop_during_backoff_ends_at_once_and_starts_nothing() -> None:
    waiting = Instance(state=State.BACKOFF, resume_ns=10)
    instance, actions = policy.step(waiting, policy.Stop(), 5, LIMITS)
    assert (instance.state, actions) == (State.STOPPED, ())
    assert policy.deadline_ns(instance, LIMITS) is None


def test_an_errored_instance_can_be_started_again_with_a_clean_count() -> None:
    errored = Instance(state=State.ERRORED, failures=7, restarts=6)
    instance, actions = policy.step(errored, policy.Start(), 5, LIMITS)
    assert (instance.state, instance.failures, actions) == (State.STARTING, 0, (Action.SPAWN,))


@dataclass
class World:
    """A shell that obeys the policy: one process at most, admitted or not."""

    instance: Instance = field(default_factory=Instance)
    now_ns: int = 0
    process: bool = False
    admitted: bool = False
    limits: Limits = LIMITS

    def feed(self, event: Event) -> None:
        """Feed one event that can happen, and check what must always hold."""
        if isinstance(event, NEEDS_PROCESS) and not self.process:
            return
        if isinstance(event, policy.Exited):
            self.process = False
        self.instance, actions = policy.step(self.instance, event, self.now_ns, self.limits)
        for action in actions:
            match action:
                case Action.SPAWN:
                    assert not self.process, "two processes of one instance"
                    self.process = True
                case Action.ADMIT:
                    assert not self.admitted
                    self.admitted = True
                case Action.WITHDRAW:
                    assert self.admitted
                    self.admitted = False
                case Action.TERMINATE | Action.ABORT | Action.KILL:
                    assert self.process, "a signal for nobody"
        assert self.process == (self.instance.state not in HAS_NO_PROCESS)
        assert self.admitted == (self.instance.state is State.READY)

    def advance(self, step_ns: int) -> None:
        """Let time pass, with a Tick at every deadline on the way."""
        end_ns = self.now_ns + step_ns
        for _ in range(1_000):
            at = policy.deadline_ns(self.instance, self.limits)
            if at is None or at > end_ns:
                break
            self.now_ns = max(self.now_ns, at)
            before = self.instance
            self.feed(policy.Tick())
            assert self.instance != before, "a deadline that nothing follows from"
        self.now_ns = end_ns


happenings = st.one_of(
    st.sampled_from(SAMPLES),
    st.builds(policy.Exited, st.just("exit 1"), st.integers(0, policy.JITTER_SCALE)),
    st.integers(0, 700),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(happenings, max_size=60))
def test_any_history_keeps_one_process_and_admits_only_the_ready(
    history: list[Event | int],
) -> None:
    world = World()
    for happening in history:
        if isinstance(happening, int):
            world.advance(happening)
        else:
            world.feed(happening)


@settings(max_examples=200, deadline=None)
@given(st.lists(happenings, max_size=40))
def test_after_any_history_a_stop_comes_to_rest_even_if_nobody_obeys(
    history: list[Event | int],
) -> None:
    world = World()
    for happening in history:
        if isinstance(happening, int):
            world.advance(happening)
        else:
            world.feed(happening)
    world.feed(policy.Stop())
    killed = False
    for _ in range(3):
        if world.instance.state is State.STOPPING:
            at = policy.deadline_ns(world.instance, LIMITS)
            assert at is not None
            world.now_ns = max(world.now_ns, at)
            world.instance, actions = policy.step(
                world.instance, policy.Tick(), world.now_ns, LIMITS
            )
            killed = killed or Action.KILL in actions
    if world.process:
        assert killed
        world.feed(policy.Exited("SIGKILL", 0))
    assert world.instance.state is State.STOPPED


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, policy.JITTER_SCALE), min_size=20, max_size=20))
def test_a_child_that_always_dies_is_started_a_limited_number_of_times(jitters: list[int]) -> None:
    world, spawned = World(limits=replace(LIMITS, start_ns=10**12)), 1
    world.feed(policy.Start())
    for jitter in jitters:
        world.feed(policy.Exited("exit 1", jitter))
        world.advance(LIMITS.backoff_max_ns)
        if world.process:
            spawned += 1
    assert world.instance.state is State.ERRORED
    assert spawned == LIMITS.max_restarts + 1
