"""Points, in whatever order payments are heard of: the ledger adds up, each payment's points go and come back once.

Within what the reactions' engine may do (each order's events in their order, again from anywhere when it died) and far
beyond it (any order, any number of times, several at the same moment). The same machine is run against steps with
planted bugs, and must find them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import pytest
import uvloop
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from sqlalchemy import text

from command.points import service
from command.points.storage import PointsAccounts
from command.unit_of_work import UnitOfWork
from events.envelope import Envelope
from runtime.clock import now
from tests.points import Daemon, declined, failed, refunded, requested

T = TypeVar("T")
Want = tuple[str, int]
"""Whose points a payment wants, and how many."""
Delivery = tuple[int, str]
"""Which payment, and what is heard of it; ``charge`` tops up the account that it wants points of."""

MEMBERS = ("ann", "ben")
CHARGE = 50
HEARD: dict[str, Callable[..., Envelope]] = {"fail": failed, "refund": refunded}
SETTLING = ("fail", "refund", "decline")

EVERY_ORDER = settings(
    max_examples=60,
    deadline=None,
    # One database for all examples of a test: the machine empties it before each.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
UNTIL_FOUND = settings(max_examples=300, deadline=None, phases=[Phase.generate], database=None)

WANTS = st.lists(st.tuples(st.sampled_from(MEMBERS), st.integers(1, 70)), min_size=1, max_size=3)


def _case(
    step: Callable[[st.SearchStrategy[int]], st.SearchStrategy[T]],
) -> st.SearchStrategy[tuple[list[Want], list[T]]]:
    """Payments, and at least a handful of steps, each of one of them."""
    return WANTS.flatmap(
        lambda wants: st.tuples(st.just(wants), st.lists(step(st.integers(0, len(wants) - 1)), min_size=4, max_size=16))
    )


def _delivery(payment: st.SearchStrategy[int]) -> st.SearchStrategy[Delivery]:
    # As often what takes points as what gives them back: else most payments would end before they began.
    return st.tuples(payment, st.sampled_from(("request", "request", "request", "charge", *SETTLING)))


ONE_BY_ONE = _case(_delivery)
AT_ONCE = _case(lambda payment: st.lists(_delivery(payment), min_size=1, max_size=4))
LIVES = _case(
    lambda payment: st.tuples(
        payment, st.sampled_from(("charge", "answer", "answer", "die", "fail", "refund", "expire"))
    )
)


class Machine:
    """A daemon on a database, and a loop of its own, kept over all examples of a test."""

    def __init__(self, url: str, runner: asyncio.Runner) -> None:
        self._runner = runner
        self.daemon = Daemon(url)
        self.wants: Sequence[Want] = ()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the machine's loop."""
        return self._runner.run(work)

    async def execute(self, statement: str) -> None:
        """Some SQL."""
        async with self.daemon.engine.begin() as connection:
            await connection.execute(text(statement))

    async def start(self, wants: Sequence[Want]) -> None:
        """From accounts that have been charged once, and nothing else."""
        self.wants = wants
        await self.execute("TRUNCATE points_accounts, points_ledger, points_sagas, outbox")
        for member_id in MEMBERS:
            await self.daemon.charge(member_id, CHARGE)

    async def hear(self, delivery: Delivery) -> None:
        """One delivery."""
        number, what = delivery
        member_id, points = self.wants[number]
        if what == "charge":
            await self.daemon.charge(member_id, CHARGE)
        else:
            await self.daemon.deliver(self.envelope(number, what, member_id, points))

    def envelope(self, number: int, what: str, member_id: str, points: int) -> Envelope:
        """What is heard of a payment."""
        about = {"payment_id": f"pay-{number}", "order_id": f"o-{number}"}
        if what == "decline":
            return declined(**about)
        return HEARD.get(what, requested)(points, member_id=member_id, **about)


@pytest.fixture
def machine(postgres_url: str) -> Iterator[Machine]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        machine = Machine(postgres_url, runner)
        try:
            yield machine
        finally:
            machine.run(machine.daemon.engine.dispose())


async def faults_at_once(machine: Machine, case: tuple[list[Want], list[list[Delivery]]]) -> list[str]:
    """What is wrong after any of these groups of deliveries, each of which is made at the same moment."""
    wants, groups = case
    await machine.start(wants)
    called_off: set[str] = set()
    for group in groups:
        await asyncio.gather(*(machine.hear(delivery) for delivery in group))
        called_off |= {f"pay-{number}" for number, what in group if what in SETTLING}
        faults = await machine.daemon.faults(sorted(called_off))
        if faults:
            return faults
    return []


def expected(wants: Sequence[Want], deliveries: Sequence[Delivery]) -> tuple[dict[str, int], dict[str, list[str]]]:
    """Balances, and what is told of each payment: whatever is heard first decides, and then only the way back."""
    balances = dict.fromkeys(MEMBERS, CHARGE)
    told: dict[str, list[str]] = {f"pay-{number}": [] for number in range(len(wants))}
    settled: set[int] = set()
    for number, what in deliveries:
        (member_id, points), events = wants[number], told[f"pay-{number}"]
        if what == "charge":
            balances[member_id] += CHARGE
        elif what == "request" and not events and number not in settled:
            suffices = balances[member_id] >= points
            balances[member_id] -= points if suffices else 0
            events.append("PointsUsed" if suffices else "PointsRejected")
        elif what in SETTLING:
            if events == ["PointsUsed"]:
                balances[member_id] += points
                events.append("PointsReturned")
            settled.add(number)
    return balances, told


class Lives:
    """Orders as the engine knows them: each a log of its own, how far it is answered, and what may still happen."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.logs = [["request"] for _ in machine.wants]
        self._answered = [0] * len(self.logs)

    async def step(self, number: int, what: str) -> None:
        """One step of the engine, or of the other contexts; left out where it cannot happen."""
        if what == "charge":
            await self._machine.hear((number, what))
        elif what == "answer":
            await self._answer(number)
        elif what == "die":
            self._answered[number] = 0
        elif what == "expire":
            self._happens(number, "decline", unless=("decline", "refund"))
        elif "PointsUsed" in await self._machine.daemon.events(f"pay-{number}"):
            # The card is asked once the points are there; then it pays and is refunded, or it fails.
            self._happens(number, what, unless=("fail", "refund"))

    async def finish(self) -> None:
        """All that happened is answered."""
        for number, log in enumerate(self.logs):
            while self._answered[number] < len(log):
                await self._answer(number)

    async def _answer(self, number: int) -> None:
        if self._answered[number] < len(self.logs[number]):
            await self._machine.hear((number, self.logs[number][self._answered[number]]))
            self._answered[number] += 1

    def _happens(self, number: int, what: str, *, unless: tuple[str, ...]) -> None:
        if not set(unless) & set(self.logs[number]):
            self.logs[number].append(what)


@EVERY_ORDER
@given(case=AT_ONCE)
def test_whatever_is_heard_in_whatever_order_and_at_the_same_moment_the_ledger_adds_up(
    machine: Machine, case: tuple[list[Want], list[list[Delivery]]]
) -> None:
    assert machine.run(faults_at_once(machine, case)) == []


@EVERY_ORDER
@given(case=ONE_BY_ONE)
def test_what_is_heard_first_of_a_payment_decides_and_nothing_has_its_effect_twice(
    machine: Machine, case: tuple[list[Want], list[Delivery]]
) -> None:
    wants, deliveries = case

    async def outcome() -> tuple[dict[str, int], dict[str, list[str]]]:
        await machine.start(wants)
        for delivery in deliveries:
            await machine.hear(delivery)
        told = {f"pay-{number}": await machine.daemon.events(f"pay-{number}") for number in range(len(wants))}
        return await machine.daemon.balances(), told

    assert machine.run(outcome()) == expected(wants, deliveries)


@EVERY_ORDER
@given(case=LIVES)
def test_however_often_the_engine_dies_every_payment_that_came_to_nothing_has_its_points_back_once(
    machine: Machine, case: tuple[list[Want], list[tuple[int, str]]]
) -> None:
    wants, steps = case

    async def judged() -> None:
        await machine.start(wants)
        lives = Lives(machine)
        for step in steps:
            await lives.step(*step)
        await lives.finish()
        for number, log in enumerate(lives.logs):
            way_back = ["PointsReturned"] if len(log) > 1 else []
            assert await machine.daemon.events(f"pay-{number}") in (["PointsRejected"], ["PointsUsed", *way_back])
        called_off = [f"pay-{number}" for number, log in enumerate(lives.logs) if len(log) > 1]
        assert await machine.daemon.faults(called_off) == []

    machine.run(judged())


async def take_when_asked(uow: UnitOfWork, *, payment_id: str, order_id: str, member_id: str, points: int) -> None:
    """Planted bug: looks at no record."""
    account = await uow.repository(PointsAccounts).locked(member_id)
    account.use(points, order_id=order_id, payment_id=payment_id, at=now())


async def give_back_when_told(uow: UnitOfWork, *, payment_id: str, order_id: str, **why: Any) -> None:
    """Planted bug: looks only at whether the points were taken."""
    taken = text("SELECT member_id, points FROM points_ledger WHERE kind = 'used' AND payment_id = :id LIMIT 1")
    row = (await uow.connection.execute(taken, {"id": payment_id})).first()
    if row is not None:
        account = await uow.repository(PointsAccounts).locked(row.member_id)
        why = {"failure_code": None, "reason": None, **why}
        account.give_back(-row.points, order_id=order_id, payment_id=payment_id, **why, at=now())


async def give_back_and_forget(uow: UnitOfWork, *, payment_id: str, **of: Any) -> None:
    """Planted bug: what is unknown yet is not remembered as called off."""
    found = await uow.connection.execute(text("SELECT 1 FROM points_sagas WHERE payment_id = :id"), {"id": payment_id})
    if found.first() is not None:
        await _give_back_points(uow, payment_id=payment_id, **of)


_give_back_points = service.give_back_points


@pytest.mark.parametrize(
    ("step", "planted", "fault"),
    [
        ("use_points", take_when_asked, "is booked"),
        ("give_back_points", give_back_when_told, "is booked"),
        ("give_back_points", give_back_and_forget, "was called off"),
    ],
    ids=["takes again", "gives back again", "forgets"],
)
def test_the_machine_finds_what_is_wrong_with_a_planted_step(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    planted: Callable[..., Awaitable[None]],
    fault: str,
) -> None:
    monkeypatch.setattr(service, step, planted)
    # Else the database would refuse first.
    machine.run(machine.execute("ALTER TABLE points_ledger DROP CONSTRAINT uq_points_ledger_payment_id"))

    def is_caught(case: tuple[list[Want], list[Delivery]]) -> bool:
        # One by one: what depends on who is faster is found, and then not found again.
        wants, deliveries = case
        faults = machine.run(faults_at_once(machine, (wants, [[delivery] for delivery in deliveries])))
        return any(fault in found for found in faults)

    assert find(ONE_BY_ONE, is_caught, settings=UNTIL_FOUND)


def test_steps_without_a_fault_are_not_accused(machine: Machine) -> None:
    def is_caught(case: tuple[list[Want], list[list[Delivery]]]) -> bool:
        return bool(machine.run(faults_at_once(machine, case)))

    with pytest.raises(NoSuchExample):
        find(AT_ONCE, is_caught, settings=settings(UNTIL_FOUND, max_examples=20))
