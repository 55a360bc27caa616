"""(f) Commands while the card gateway is up, slow or down: placing, paying and canceling must not feel it.

Three shops, each with a command API and a projector of its own on a database of its own, that differ in their gateway:
the payment simulator; the same with cards that are answered after three seconds; nothing that listens. Every round asks
each in turn for whole lives: an order that is placed and paid by card, and one that is placed and canceled; so the
gateway is being asked, or given up on, all the time. The ratio is that of the median to that of the shop whose gateway
is up.
"""

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import httpx
from pydantic import SecretStr

from bench.serving import Served, serving
from bench.suite import Bench, Part, Row
from runtime.settings import Settings
from runtime.tokens import Tokens

_SECRET = "x" * 32
_LIVES, _AT_ONCE = 60, 4
_UP, _SLOW, _DOWN = "up", "slow", "down"
_GATEWAYS, _COMMANDS = (_UP, _SLOW, _DOWN), ("place", "pay", "cancel")
_NOBODY_LISTENS = "http://127.0.0.1:9"
_ORDER = {
    "lines": [{"product_id": "pen", "quantity": 1}],
    "shipping_info": {
        "receiver": {"name": "Ada Buyer", "phone": "+44 20 7946 0000"},
        "address": {"zip_code": "N1 9GU", "address1": "1 Canal Street", "address2": ""},
    },
}

Taken = dict[tuple[str, str], list[float]]
"""Milliseconds, by gateway and command."""


@dataclass(frozen=True, slots=True)
class _Shop:
    gateway: str
    url: str
    card_token: str


async def measure(bench: Bench) -> list[Row]:
    """Milliseconds of each command, p50 and p99, by the state of the gateway."""
    taken: Taken = defaultdict(list)
    token = Tokens(Settings(jwt_secret=SecretStr(_SECRET))).issue("ada", ["customer", "staff"])
    with ExitStack() as stack:
        shops = [
            stack.enter_context(_shop(bench, gateway, await bench.fresh(_database(gateway)))) for gateway in _GATEWAYS
        ]
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            for shop in shops:
                await _open(client, shop)
                await _trade(client, shop, defaultdict(list))  # warm
            for _ in range(bench.rounds):
                for shop in shops:
                    await _trade(client, shop, taken)
    for gateway in _GATEWAYS:
        await bench.drop(_database(gateway))
    return [_row(taken, gateway, command) for command in _COMMANDS for gateway in _GATEWAYS]


@contextmanager
def _shop(bench: Bench, gateway: str, url: str) -> Iterator[_Shop]:
    with ExitStack() as stack:
        environment = {
            "READSIDE_POSTGRES_URL": url,
            "READSIDE_MONGO_URL": bench.mongo,
            "READSIDE_MONGO_DATABASE": _database(gateway),
            "READSIDE_JWT_SECRET": _SECRET,
            "READSIDE_DATA_DIR": stack.enter_context(TemporaryDirectory(prefix="readside-bench-")),
            "READSIDE_LOG_LEVEL": "error",
        }
        asked = _NOBODY_LISTENS
        if gateway != _DOWN:
            asked = f"http://127.0.0.1:{stack.enter_context(_process('payment-simulator', environment)).port}"
        environment["READSIDE_PAYMENT_GATEWAY_URL"] = asked
        stack.enter_context(_process("projector", environment))
        api = stack.enter_context(_process("command-api", environment))
        yield _Shop(gateway, f"http://127.0.0.1:{api.port}", "tok_slow" if gateway == _SLOW else "tok_fine")


@contextmanager
def _process(name: str, environment: Mapping[str, str]) -> Iterator[Served]:
    with serving(name, ("-m", "readside", name, "--port", "{port}"), environment, "/readyz") as served:
        yield served


async def _open(client: httpx.AsyncClient, shop: _Shop) -> None:
    pen = {"product_id": "pen", "name": "Fountain pen", "category": "writing", "unit_price": 250, "stock": 10**9}
    (await client.post(f"{shop.url}/products", json=pen)).raise_for_status()


async def _trade(client: httpx.AsyncClient, shop: _Shop, taken: Taken) -> None:
    lives = iter(range(_LIVES))

    async def customer() -> None:
        for _ in lives:
            paid, canceled = await _placed(client, shop, taken), await _placed(client, shop, taken)
            await _timed(client, shop, taken, "pay", paid, {"method": "card", "card_token": shop.card_token})
            await _timed(client, shop, taken, "cancel", canceled, {"reason": "changed my mind"})

    await asyncio.gather(*(customer() for _ in range(_AT_ONCE)))


async def _placed(client: httpx.AsyncClient, shop: _Shop, taken: Taken) -> str:
    order_id: str = (await _timed(client, shop, taken, "place", "", _ORDER)).json()["order_id"]
    return order_id


async def _timed(
    client: httpx.AsyncClient, shop: _Shop, taken: Taken, command: str, order_id: str, body: object
) -> httpx.Response:
    path = f"/orders/{order_id}/{command}" if order_id else "/orders"
    started = time.perf_counter()
    answer = await client.post(f"{shop.url}{path}", json=body)
    taken[shop.gateway, command].append((time.perf_counter() - started) * 1000)
    answer.raise_for_status()
    return answer


def _row(taken: Taken, gateway: str, command: str) -> Row:
    cuts = statistics.quantiles(taken[gateway, command], n=100)
    ratio = cuts[49] / statistics.median(taken[_UP, command])
    return {
        "command": command,
        "gateway": gateway,
        "ratio": round(ratio, 2),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
    }


def _database(gateway: str) -> str:
    return f"bench_gateway_{gateway}"


part = Part("gateway", "(f) commands while the card gateway is up, slow or down", measure, orders=())
