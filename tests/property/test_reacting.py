"""A reaction's engine, whatever order handlers end in, fail in, and whenever its owner dies.

Feed, checkpoint and outside are in memory; everything between them is the real thing. Judged is what anybody could see
from outside: that no checkpoint ever covers an event without effect or dead letter, that nothing is done twice in one
life or once it is durable, that a sequence never changes its order. The same machine is run with planted bugs, and must
find them.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from events.catalog import ProductDetailsChanged, StockAdjusted
from events.envelope import DomainEvent, Envelope
from events.reaction import Ports, Reaction
from projector.failures import DeadLetter
from projector.feed import Aggregate
from projector.folding import Settlement
from projector.reacting import keeping as keeping_module
from projector.reacting import reactor as reactor_module
from projector.reacting.reactor import Reactor
from projector.reacting.subscription import Pending, Subscription
from projector.reacting.window import Mark, Window
from runtime.settings import Settings
from tests.unit.views.given import happened, numbered

EVERY_ORDER = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
PATIENCE = Settings(_env_file=None, reaction_attempts=2, reaction_backoff_seconds=0.001)  # type: ignore[call-arg]
OTHER: DomainEvent = ProductDetailsChanged(name="Pen", category="things", unit_price=1)
WANTED: DomainEvent = StockAdjusted(delta=1, reason="count")
LOGS = st.lists(st.sampled_from(["a", "b", "c", "", ""]), min_size=1, max_size=12)
CHOICES = st.lists(st.integers(0, 99), min_size=1, max_size=60)


class Wrong(AssertionError):
    """The engine broke a promise."""


class MemoryFeed:
    """A log that was written before anybody reads it."""

    is_cut_off = False

    def __init__(self, log: Sequence[Envelope]) -> None:
        self._log = log
        self.head = len(log)

    async def started(self) -> None:
        """It is."""

    async def read(self, after: int) -> Sequence[Envelope]:
        """A few at a time."""
        return self._log[after : after + 3]

    async def more(self, after: int) -> None:
        """Never, at the end."""
        if after >= self.head:
            await asyncio.Event().wait()

    async def reread(self, aggregate: Aggregate, positions: Collection[int]) -> Sequence[Envelope]:
        """Nobody repairs anything here."""
        raise NotImplementedError

    def waiting_seconds(self, position: int) -> float:  # noqa: ARG002  (there is but this way to name it)
        """No time passes here."""
        return 0.0


class Owner:
    """Sure of it."""

    is_lost = False

    async def sure(self) -> None:
        """At once."""


class World:
    """What outlives an owner: the effects, the checkpoint, the dead letters. It judges at every write."""

    def __init__(self, log: Sequence[Envelope], choices: Iterator[int]) -> None:
        self.log = log
        self.choices = choices
        self.mark = Mark(0)
        self.letters: dict[int, DeadLetter] = {}
        self.effects: list[int] = []
        self.in_this_life: set[int] = set()
        self.waiting: dict[int, asyncio.Future[bool]] = {}
        self.wrong: list[str] = []
        """What a handler saw: the engine would take its complaint for a failed attempt."""

    async def handle(self, envelope: Envelope, _: Ports) -> None:
        """The outside: it agrees, or not, when chance says so."""
        position = envelope.position
        if position in self.mark.done or position <= self.mark.position:
            self.wrong.append(f"{position} is durable, and begun again")
        if any(_sequence(self.log, other) == envelope.aggregate_id for other in self.waiting):
            self.wrong.append(f"{position} is begun beside another of its sequence")
        self.waiting[position] = asyncio.get_running_loop().create_future()
        try:
            agrees = await self.waiting[position]
        finally:
            del self.waiting[position]
        if not agrees:
            raise ValueError("no")
        if position in self.in_this_life:
            self.wrong.append(f"{position} was done twice in one life")
        self.in_this_life.add(position)
        self.effects.append(position)

    async def write(self, mark: Mark, letters: Sequence[DeadLetter], _: int) -> None:
        """A checkpoint."""
        await asyncio.sleep(0)
        self.letters |= {letter.envelope.position: letter for letter in letters}
        passed = set(range(1, mark.position + 1)) | set(mark.done)
        wanted = {envelope.position for envelope in self.log if envelope.event is WANTED}
        lost = (passed & wanted) - set(self.effects) - self.letters.keys()
        if lost:
            raise Wrong(f"the checkpoint has passed {lost}")
        self.mark = mark

    async def settle(self, settlement: Settlement, parked: int) -> None:
        """Nobody repairs anything here."""
        raise NotImplementedError

    def chance(self, of: int, *, at_last: int) -> int:
        """Something below that; in the end always the same, so that there is an end."""
        return next(self.choices, at_last) % of

    @property
    def is_through(self) -> bool:
        """Whether everything is durable."""
        return self.mark.position == len(self.log)

    def judge(self) -> None:
        """At the end: everything has its effect or its letter, and the first effects of a sequence are in order."""
        if self.wrong:
            raise Wrong("; ".join(self.wrong))
        wanted = {envelope.position for envelope in self.log if envelope.event is WANTED}
        if wanted - set(self.effects) != wanted & self.letters.keys() - set(self.effects):
            raise Wrong("neither an effect nor a letter")
        for sequence in "abc":
            first = list(dict.fromkeys(one for one in self.effects if _sequence(self.log, one) == sequence))
            if first != sorted(first):
                raise Wrong(f"{sequence} was done in the order {first}")


def _sequence(log: Sequence[Envelope], position: int) -> str:
    return log[position - 1].aggregate_id


async def _live(world: World) -> None:
    """Until everything is durable, or death."""
    reaction = Reaction("ship")
    reaction.on(StockAdjusted)(world.handle)
    world.in_this_life = set()
    reactor = Reactor(
        reaction,
        Ports({}),
        MemoryFeed(world.log),
        world,
        cast(Any, Owner()),
        PATIENCE,
        world.mark,
        parked={letter.sequence or "" for letter in world.letters.values()},
    )
    running = asyncio.create_task(reactor.run())
    try:
        while not world.is_through and not running.done():
            await asyncio.sleep(0.0005 if not world.waiting else 0)
            what = world.chance(10, at_last=5)
            if what == 9:
                return
            if world.waiting and what > 2:
                position = sorted(world.waiting)[world.chance(len(world.waiting), at_last=0)]
                if not world.waiting[position].done():
                    world.waiting[position].set_result(world.chance(5, at_last=0) != 4)
        if running.done():
            await running
    finally:
        # Nothing polite: what is not durable now is lost.
        for task in (*reactor._tasks, running):
            task.cancel()
        reactor.keeping._progress = cast(Any, _Gone())
        await asyncio.gather(*reactor._tasks, running, return_exceptions=True)


class _Gone:
    async def write(self, *_: object) -> None:
        """A dead process writes nothing."""


async def _lives(names: Sequence[str], choices: Sequence[int]) -> None:
    events = [happened(WANTED if name else OTHER, name or "p-9") for name in names]
    world = World(numbered(*events), iter(choices))
    while not world.is_through:
        await _live(world)
    world.judge()


def _run(names: Sequence[str], choices: Sequence[int]) -> None:
    with capture_logs(), asyncio.Runner() as runner:
        runner.run(asyncio.wait_for(_lives(names, choices), 20))


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine waits for nothing but handlers."""
    monkeypatch.setattr(keeping_module, "_WRITE_EVERY_SECONDS", 1e-6)
    monkeypatch.setattr(keeping_module, "_WRITE_PASSED_OVER_SECONDS", 0.001)
    monkeypatch.setattr(reactor_module, "MOST_TAKEN_IN", 4)
    monkeypatch.setattr(reactor_module, "GRACE_SECONDS", 0)


@EVERY_ORDER
@given(names=LOGS, choices=CHOICES)
def test_nothing_is_lost_repeated_or_out_of_order_whatever_ends_when(
    no_pause: None, names: list[str], choices: list[int]
) -> None:
    _run(names, choices)


def _found() -> bool:
    """Whether the machine finds the planted bug within a few hundred tries."""

    @settings(EVERY_ORDER, max_examples=500, database=None, derandomize=True, phases=[Phase.generate])
    @given(names=LOGS, choices=CHOICES)
    def search(names: list[str], choices: list[int]) -> None:
        _run(names, choices)

    try:
        search()
    except Wrong:
        return True
    except BaseExceptionGroup as several:
        return several.subgroup(Wrong) is not None
    return False


def test_the_machine_finds_a_checkpoint_that_runs_ahead(no_pause: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Window, "mark", property(lambda window: Mark(window.looked_at)))
    assert _found()


def test_the_machine_finds_what_was_done_above_the_mark_and_forgotten(
    no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Window.take

    def forgetful(window: Window, position: int) -> bool:
        take(window, position)
        return True

    monkeypatch.setattr(Window, "take", forgetful)
    assert _found()


def test_the_machine_finds_events_that_overtake_those_of_their_sequence(
    no_pause: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = Subscription.pending

    def alone(subscription: Subscription, envelope: Envelope) -> Pending:
        return msgspec.structs.replace(pending(subscription, envelope), sequence=str(envelope.position))

    monkeypatch.setattr(Subscription, "pending", alone)
    assert _found()
