"""A client that does not give up: it sends again what was not answered, under the same key, and reads what it wrote."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from tests.torture.ledger import Acknowledged, Command, Json, Ledger
from tests.torture.stack import Stack

ANSWER_WITHIN_SECONDS = 12.0
PATIENCE_SECONDS = 180.0
_LATER = ("unavailable", "read-model-behind", "read-model-parked")
_AGAIN = ("unavailable", "request-in-progress", "concurrent-update")
_MONEY = ("placed_amount", "gross_sales", "units", "canceled_amount", "net_sales")


class Client:
    """One person, or one program, with a token."""

    def __init__(
        self, stack: Stack, ledger: Ledger, http: httpx.AsyncClient, subject: str, scopes: list[str], seed: str
    ) -> None:
        self.chance = random.Random(seed)
        self.subject = subject
        self.ledger = ledger
        self._stack = stack
        self._http = http
        self._authorization = f"Bearer {stack.tokens.issue(subject, scopes, name=f'Name of {subject}')}"

    def unique(self) -> str:
        """A word that nobody else says in this run."""
        return str(UUID(int=self.chance.getrandbits(128)))

    async def ask(
        self, process: str, method: str, path: str, body: Json | None = None, **headers: str
    ) -> httpx.Response | None:
        """One request; none where no answer came."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            answer = await self._http.request(
                method,
                self._stack.url(process) + path,
                json=body,
                headers={"Authorization": self._authorization, **named},
            )
        except httpx.TransportError as error:
            self.ledger.answers[f"{process}: {type(error).__name__}"] += 1
            return None
        self.ledger.answers[f"{process}: {answer.status_code}{_slug(answer, ' ')}"] += 1
        if answer.status_code == 500 or (answer.status_code >= 400 and not _slug(answer)):
            self.ledger.wrong.append(f"{method} {path} was answered {answer.status_code} {answer.text[:300]!r}")
        return answer

    async def do(self, command: Command, *, version: int | None = None) -> Acknowledged | None:
        """Give a command until it is decided. None where it was refused, or must stay open.

        ``version`` becomes ``If-Match``. Mostly under a key; a command without one is sent once, whatever comes of it.
        """
        headers = {} if version is None else {"If_Match": f'"{version}"'}
        if self.chance.random() < 0.92:
            headers["Idempotency_Key"] = self.unique()
        deadline = time.monotonic() + PATIENCE_SECONDS
        lost = False
        while True:
            answer = await self.ask("command-api", command.method, command.path, command.body, **headers)
            if answer is not None and answer.is_success:
                return await self._acknowledged(command, answer, headers)
            if answer is not None and 400 <= answer.status_code < 500 and _slug(answer) not in _AGAIN:
                if lost:
                    # The first attempt may have been on its way all the time, and be decided after this one.
                    self.ledger.undecided.append(command)
                return None
            lost = lost or answer is None or answer.status_code >= 500
            if "Idempotency_Key" not in headers:
                if lost:
                    self.ledger.undecided.append(command)
                return None
            if time.monotonic() > deadline:
                self.ledger.undecided.append(command)
                self.ledger.wrong.append(f"{command.path} was not decided within {PATIENCE_SECONDS:.0f} s")
                return None
            await asyncio.sleep(self.chance.uniform(0.05, 0.4))

    async def _acknowledged(self, command: Command, answer: httpx.Response, headers: Mapping[str, str]) -> Acknowledged:
        done = self.ledger.acknowledge(command, answer.json(), answer.headers["Consistency-Token"])
        if "Idempotency_Key" in headers and self.chance.random() < 0.1:
            again = await self.ask("command-api", command.method, command.path, command.body, **headers)
            if again is not None and again.is_success:
                replayed = again.headers.get("Idempotent-Replayed") == "true"
                if not replayed or again.json() != answer.json():
                    self.ledger.wrong.append(f"{command.path} again: {again.json()}, first {answer.json()}")
        return done

    async def read(self, path: str, done: Acknowledged, *, wait: int = 5) -> Json | None:
        """A view after one's own command; none where it could not be had in time. A stale answer is noted as wrong."""
        answer = await self.ask("query-api", "GET", path, Consistency_Token=done.token, Prefer=f"wait={wait}")
        if answer is None or (answer.status_code == 503 and _slug(answer) in _LATER):
            return None
        if answer.status_code != 200:
            self.wrong(f"GET {path} after {done.command.path}", answer.text[:300])
            return None
        if "Read-Model-State" in answer.headers:
            self.wrong(f"GET {path} with a token", "was answered with a parked document")
        found: Json = answer.json()
        return found

    async def until_settled(self, order_id: str, *, within_seconds: float = 5.0) -> None:
        """Wait for the answer to a payment, as a customer does who looks again and again; some lose patience."""
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            answer = await self.ask("query-api", "GET", f"/orders/{order_id}")
            payment = answer.json()["payment"] if answer is not None and answer.is_success else None
            if payment is not None and payment["status"] != "REQUESTED":
                return
            await asyncio.sleep(self.chance.uniform(0.05, 0.2))

    async def read_order(self, done: Acknowledged) -> None:
        """The order, and the first page of the customer's orders."""
        order = await self.read(f"/orders/{done.aggregate[1]}", done)
        if order is not None and (
            order["version"] < done.version
            or (order["version"] == done.version and order["status"] != done.answer["status"])
        ):
            self.wrong(f"order {done.aggregate[1]} after {done.answer}", f"{order['version']} {order['status']}")

    async def read_statistics(self, done: Acknowledged, placed_before: int) -> None:
        """The sales of these days; grouped or not, money and units are the same."""
        group = self.chance.choice(["none", "product", "category"])
        found = await self.read(f"/statistics/sales?{range_of_days()}&granularity=day&group_by={group}", done)
        if found is None:
            return
        if found["totals"]["placed_orders"] < placed_before:
            self.wrong("statistics", f"{found['totals']} after {placed_before} placed orders")
        sums = {measure: sum(row[measure] for row in found["rows"]) for measure in _MONEY}
        if any(sums[measure] != found["totals"][measure] for measure in _MONEY):
            self.wrong(f"statistics by {group}", f"rows {sums}, totals {found['totals']}")

    def wrong(self, what: str, found: Any) -> None:
        """Note what should not have been answered."""
        self.ledger.wrong.append(f"{what}: {found}")


def range_of_days() -> str:
    """Every day that a run can touch."""
    return "from=2020-01-01&to=2099-12-31"


@asynccontextmanager
async def a_client(stack: Stack, ledger: Ledger, subject: str, *scopes: str, seed: str = "") -> AsyncIterator[Client]:
    """A client with a connection pool of its own."""
    async with httpx.AsyncClient(timeout=ANSWER_WITHIN_SECONDS, trust_env=False) as http:
        yield Client(stack, ledger, http, subject, list(scopes), seed or subject)


def _slug(answer: httpx.Response, before: str = "") -> str:
    if not answer.headers.get("content-type", "").startswith("application/problem+json"):
        return ""
    return before + str(answer.json()["type"]).removeprefix("/problems/")
