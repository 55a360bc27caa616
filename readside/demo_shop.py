"""The calls of a lively day, over HTTP as any client makes them."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from readside.demo import PRODUCTS
from readside.errors import StartError

PASSWORD = "demo-password"  # noqa: S105 - accounts that the demo makes for itself
_MEMBERS = ("Ava Lind", "Bora Kim", "Chidi Eze", "Dora Weiss")
_RESTOCK, _POINTS = 1_000, 10**8
_SETTLED_WITHIN_SECONDS = 20.0


class Refused(Exception):
    """A call was not answered as the script has it; the message is the problem's detail."""

    def __init__(self, call: str, answer: httpx.Response) -> None:
        super().__init__(f"{call}: {answer.status_code} {answer.text[:200]}")
        self.status, self.slug = answer.status_code, _slug(answer)


@dataclass(frozen=True, slots=True)
class Member:
    """A buyer who has signed in."""

    member_id: str
    token: str


class Shop:
    """Both APIs and the projector's port, for the staff and for buyers."""

    def __init__(self, client: httpx.AsyncClient, *, command: str, query: str, projector: str, token: str) -> None:
        self._client, self._token = client, token
        self._command, self._query, self._projector = command, query, projector

    async def open(self) -> tuple[list[str], list[Member]]:
        """Products that there are, or that are registered now, and members new for this day, with points."""
        found = (await self._get(f"{self._query}/products?limit=50", self._token)).json()["items"]
        products = [one["product_id"] for one in found] or [await self._register(number) for number in range(6)]
        return products, [await self._sign_up(name) for name in _MEMBERS]

    async def post(self, path: str, body: dict[str, Any], token: str | None = None) -> httpx.Response:
        """A command under a key of its own, by the staff unless another token is given. Raises `Refused`."""
        headers = {"Authorization": f"Bearer {token or self._token}", "Idempotency-Key": str(uuid4())}
        answer = await self._client.post(f"{self._command}{path}", json=body, headers=headers)
        return _good(f"POST {path.rpartition('/')[2]}", answer)

    async def place(self, member: Member, lines: list[dict[str, Any]]) -> tuple[str, float]:
        """An order, read back with its token: its id, and the seconds from the answer to the view."""
        shipping = {
            "receiver": {"name": "A Buyer", "phone": "+00 555 0100"},
            "address": {"zip_code": "00000", "address1": "1 Example Street", "address2": "Town"},
            "message": "",
        }
        body = {"lines": lines, "shipping_info": shipping}
        try:
            answer = await self.post("/orders", body, member.token)
        except Refused as refused:
            if refused.slug != "insufficient-stock":
                raise
            await self._restock([line["product_id"] for line in lines])
            answer = await self.post("/orders", body, member.token)
        began, order_id = time.perf_counter(), str(answer.json()["order_id"])
        await self._get(f"{self._query}/orders/{order_id}", member.token, answer.headers["Consistency-Token"])
        return order_id, time.perf_counter() - began

    async def settled(self, order_id: str) -> str:
        """How the payment ended, as the view has it; ``REQUESTED`` where it takes too long."""
        deadline = time.monotonic() + _SETTLED_WITHIN_SECONDS
        while True:
            payment = (await self._get(f"{self._query}/orders/{order_id}", self._token)).json()["payment"]
            status = payment["status"] if payment else "REQUESTED"
            if status != "REQUESTED" or time.monotonic() > deadline:
                return str(status)
            await asyncio.sleep(0.2)

    async def letters(self, aggregate_id: str) -> list[dict[str, Any]]:
        """The dead letters of one aggregate, in the order of the log."""
        found = await self._get(f"{self._projector}/dead-letters?aggregate_id={aggregate_id}", self._token)
        return list(found.json()["items"])

    async def discard(self, letter_id: str, reason: str) -> None:
        """As an operator does."""
        path = f"{self._projector}/dead-letters/{letter_id}/discard"
        headers = {"Authorization": f"Bearer {self._token}"}
        _good("POST discard", await self._client.post(path, json={"reason": reason}, headers=headers))

    async def _get(self, url: str, token: str, consistency_token: str | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Prefer": "wait=10"}
        if consistency_token is not None:
            headers["Consistency-Token"] = consistency_token
        return _good(f"GET {url.rpartition('/')[2]}", await self._client.get(url, headers=headers))

    async def _register(self, number: int) -> str:
        demo = PRODUCTS[number]
        body = {"product_id": demo.product_id, "name": demo.name, "category": demo.category}
        try:
            await self.post("/products", body | {"unit_price": demo.unit_price, "stock": _RESTOCK})
        except Refused as refused:
            if refused.slug != "product-already-registered":  # the catalog's view is not there yet, it may be
                raise
        return demo.product_id

    async def _restock(self, product_ids: list[str]) -> None:
        for product_id in product_ids:
            await self.post(f"/products/{product_id}/adjust-stock", {"delta": _RESTOCK, "reason": "delivery"})

    async def _sign_up(self, name: str) -> Member:
        email = f"demo-{uuid4().hex[:12]}@example.org"
        body = {"email": email, "name": name, "password": PASSWORD}
        made = _good("POST members", await self._client.post(f"{self._command}/members", json=body)).json()
        form = {"username": email, "password": PASSWORD}
        signed_in = _good("POST token", await self._client.post(f"{self._command}/token", data=form)).json()
        await self.post(f"/members/{made['member_id']}/charge-points", {"points": _POINTS, "reason": "demo"})
        return Member(made["member_id"], signed_in["access_token"])


def unreachable(url: str) -> StartError:
    """One readable line where nobody answers."""
    return StartError(f"nobody answers at {url}: start `readside up --demo`, or give other URLs")


def _good(call: str, answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise Refused(call, answer)
    return answer


def _slug(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["type"]).rpartition("/")[2]
    except (ValueError, KeyError, TypeError):
        return ""
