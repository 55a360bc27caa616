"""A shop of several contexts in one database, its log, and a daemon that does everything late, twice and half.

What the machine of `test_checkout_saga` drives. The daemon keeps what the real one promises (the events of a sequence
in the log's order, at least once) and nothing more: when a handler is called, how long the gateway takes, whether its
answer arrives, and how often an event comes again is the machine's to decide. A killed handler is one whose task is
canceled where it waits for the gateway.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from sqlalchemy import text

from command.background import reactions
from command.payments.gateway import (
    Cause,
    Charge,
    Charged,
    Declined,
    Gateway,
    GatewayNotReached,
    GatewayUnavailable,
    Refund,
)
from command.steps import Steps
from command.unit_of_work import Transactions, UnitOfWork
from events import decode
from events.envelope import Envelope
from events.reaction import NotNow, Ports, Reaction
from runtime.settings import Settings

T = TypeVar("T")

SAGA = ("checkout", "payment_capture", "payment_void", "points", "refund")
ATTEMPTS = 3

Answered = Literal["answered", "answer lost", "not reached"]
Sequence_ = tuple[str, str]
"""A reaction and one of its sequences."""

_LOG = text(
    """
    SELECT id, event_id::text, event_type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at,
           correlation_id, causation_id::text, traceparent, payload
      FROM outbox WHERE id > :after ORDER BY id
    """
)


@dataclass(eq=False)
class Call:
    """A handler that waits for the gateway: who it is, and what the gateway is to do."""

    task: asyncio.Task[Any] | None
    do: Callable[[], Any]
    answer: asyncio.Future[Answered]


class Bank(Gateway):
    """A gateway that does what it is asked, once per payment, and answers when the machine says so."""

    def __init__(self) -> None:
        self.charged: dict[str, int] = {}
        self.returned: set[str] = set()
        self.void_payments: set[str] = set()
        self.calls: list[Call] = []
        self.called = asyncio.Event()

    async def charge(self, charge: Charge, _: Cause) -> Charged | Declined:
        """Declines cards whose token says so."""
        return await self._called(lambda: self._charge(charge))

    async def refund(self, refund: Refund, _: Cause) -> None:
        """All of it, once."""
        assert self.charged[refund.payment_id] == refund.amount
        await self._called(lambda: self.returned.add(refund.payment_id))

    async def void(self, payment_id: str, _: Cause) -> None:
        """Send back what there is; take no more."""
        await self._called(lambda: self._void(payment_id))

    @property
    def kept(self) -> dict[str, int]:
        """What it has of each payment and did not send back."""
        return {payment: amount for payment, amount in self.charged.items() if payment not in self.returned}

    def _charge(self, charge: Charge) -> Charged | Declined:
        if charge.payment_id in self.void_payments or charge.card_token == "tok_declined":
            return Declined("card-declined", "No.")
        self.charged.setdefault(charge.payment_id, charge.amount)
        return Charged(f"charge of {charge.payment_id}")

    def _void(self, payment_id: str) -> None:
        self.void_payments.add(payment_id)
        if payment_id in self.charged:
            self.returned.add(payment_id)

    async def _called(self, do: Callable[[], T]) -> T:
        call = Call(asyncio.current_task(), do, asyncio.get_running_loop().create_future())
        self.calls.append(call)
        self.called.set()
        how = await call.answer
        if how == "not reached":
            raise GatewayNotReached("no connection")
        done = do()
        if how == "answer lost":
            raise GatewayUnavailable("no answer")
        return done


@dataclass
class Line:
    """One sequence of a reaction: its events so far, and how many of them are done."""

    events: list[Envelope] = field(default_factory=list)
    done: int = 0
    attempts: int = 0
    is_parked: bool = False
    running: asyncio.Task[None] | None = None

    @property
    def can_start(self) -> bool:
        """Whether its next event may be handled now."""
        return self.running is None and not self.is_parked and self.done < len(self.events)


class Daemon:
    """Runs the reactions of the saga, as told."""

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        self.bank = Bank()
        self.log: list[Envelope] = []
        self._transactions = transactions
        self.steps = Steps(transactions)
        self._ports = Ports({Steps: self.steps, Gateway: self.bank, Settings: settings})
        self._reactions: dict[str, Reaction] = {one.name: one for one in reactions() if one.name in SAGA}
        assert set(self._reactions) == set(SAGA)
        self._lines: dict[Sequence_, Line] = defaultdict(Line)
        self._after = 0

    async def read(self) -> None:
        """Take in what was committed since."""
        async with self._transactions.engine.connect() as connection:
            rows = (await connection.execute(_LOG, {"after": self._after})).mappings().all()
        for row in rows:
            self._after = row["id"]
            self._take_in(row)

    def _take_in(self, row: Any) -> None:
        event = decode(row["event_type"], row["schema_version"], row["payload"])
        fields = {name: value for name, value in row.items() if name not in ("id", "payload")}
        envelope = Envelope(
            position=len(self.log) + 1, recorded_at=row["occurred_at"], snapshot=None, event=event, **fields
        )
        self.log.append(envelope)
        for reaction in self._reactions.values():
            if type(event) in reaction.event_types:
                self._lines[reaction.name, reaction.sequence_of(envelope)].events.append(envelope)

    def startable(self) -> list[Sequence_]:
        """The sequences whose next event may be handled now."""
        return sorted(key for key, line in self._lines.items() if line.can_start)

    def repeatable(self) -> list[Sequence_]:
        """The sequences whose last event could come again, as after a crash."""
        return sorted(key for key, line in self._lines.items() if line.running is None and line.done > 0)

    async def start(self, key: Sequence_) -> None:
        """Handle the next event of a sequence, up to its end or to the gateway."""
        line = self._lines[key]
        line.running = asyncio.create_task(self._handle(key, line))
        await self._until_it_waits(line)

    async def answer(self, call: int, how: Answered) -> None:
        """The gateway does, or does not, what it was asked, and its answer arrives or gets lost."""
        waiting = self.bank.calls.pop(call)
        waiting.answer.set_result(how)
        for line in self._lines.values():
            if line.running is waiting.task:
                await self._until_it_waits(line)

    async def kill(self, call: int, *, after_it_was_done: bool) -> None:
        """The daemon dies while the gateway is asked: every handler that runs is gone, and comes again."""
        if after_it_was_done:
            self.bank.calls[call].do()
        self.bank.calls.clear()
        for line in self._lines.values():
            if line.running is not None:
                line.running.cancel()
                with suppress(asyncio.CancelledError):
                    await line.running
                line.running = None
            line.attempts = 0

    async def stop(self) -> None:
        """Whatever still runs is given up."""
        if self.bank.calls:
            await self.kill(0, after_it_was_done=False)

    def repeat(self, key: Sequence_, events: int) -> None:
        """The last so many events of a sequence come again."""
        line = self._lines[key]
        line.done = max(0, line.done - events)

    async def until_idle(self) -> None:
        """Everything is done, the gateway answers, dead letters are tried again: what the shop comes to in the end."""
        for _ in range(1_000):
            while self.bank.calls:
                await self.answer(0, "answered")
            # After the answers: what they led to is to be handled too.
            await self.read()
            for line in self._lines.values():
                line.is_parked, line.attempts = False, 0
            startable = self.startable()
            if not startable:
                return
            for key in startable:
                await self.start(key)
        raise AssertionError("the saga does not come to an end")

    async def _handle(self, key: Sequence_, line: Line) -> None:
        reaction, envelope = self._reactions[key[0]], line.events[line.done]
        handler = reaction.answers[type(envelope.event)].handler
        try:
            await handler(envelope, self._ports)
        except NotNow:
            return
        except Exception as error:
            line.attempts += 1
            if line.attempts < ATTEMPTS:
                return
            settled = reaction.exhausted is not None and await reaction.exhausted(envelope, error, self._ports)
            line.is_parked = not settled
            if not settled:
                return
        line.done, line.attempts = line.done + 1, 0

    async def _until_it_waits(self, line: Line) -> None:
        """Until the handler has ended, or asks the gateway."""
        task = line.running
        assert task is not None
        while not task.done():
            if any(call.task is task for call in self.bank.calls):
                return
            self.bank.called.clear()
            called = asyncio.create_task(self.bank.called.wait())
            await asyncio.wait({task, called}, return_when=asyncio.FIRST_COMPLETED)
            called.cancel()
        line.running = None
        await task


async def command(transactions: Transactions, use_case: Callable[[UnitOfWork], Awaitable[T]]) -> T:
    """A customer's or clerk's command."""
    async with transactions.begin() as uow:
        result = await use_case(uow)
        await uow.commit()
        return result


def events_named(log: Sequence[Envelope], name: str) -> list[Envelope]:
    """Those of one type."""
    return [envelope for envelope in log if envelope.event_type == name]
