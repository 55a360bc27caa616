"""(c) The command API: orders placed a second, against the same by hand, and what HTTP and the outbox add.

By HTTP, the API as it is, and the same API without an outbox: its process appends no event, so that nothing is left of
the outbox but the columns of a token. With HTTP taken out, the use case as the API runs it, and the ways by hand of
`bench.placing`; ``http_to_this`` is the API beside each of them. All in turns, in every round all of them, each on
tables that were emptied before it. Nobody sequences or projects meanwhile: what a projector takes of the same two cores
is another question (`bench lag`). At last, whose code the API's time goes to (`bench.shares`).
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench import placing
from bench.load import Load, load, post
from bench.placed import MEMBER_ID, chosen
from bench.serving import Served, serving
from bench.suite import Bench, Part, Plot, Row
from runtime.settings import Settings
from runtime.tokens import Tokens

_DATABASE = "bench_command"
_SECRET = "x" * 32
_REQUESTS = 2_000

API, WITHOUT_OUTBOX = "command API", "command API without an outbox"
_REFERENCE = {API: API, WITHOUT_OUTBOX: API}
"""Whom a row's ratio is to; without HTTP it is the use case."""


async def measure(bench: Bench) -> list[Row]:
    """Orders a second and milliseconds, of every way and number of connections."""
    url = await bench.fresh(_DATABASE)
    await placing.prepare(url)
    found: dict[tuple[str, int], list[Load]] = {}
    without_http: dict[tuple[str, int], list[float]] = {}
    try:
        with _servers(url) as servers:
            idle = {name: _megabytes(one.pid) for name, one in servers.items()}
            requests = placing_requests(_SECRET)
            for number in range(bench.rounds):
                for connections in bench.options.command_connections:
                    # In turns, and who is first is another one each time.
                    for name, server in sorted(servers.items(), reverse=bool(number % 2)):
                        await placing.empty(url)
                        one = load(server.port, server.pid, requests, connections, bench.options.command_seconds)
                        found.setdefault((name, connections), []).append(one)
                    for kind in placing.WAYS:
                        await placing.empty(url)
                        placed = _placed(kind, url, connections, bench.options.command_seconds)
                        without_http.setdefault((kind, connections), []).append(placed)
            after = {name: _megabytes(one.pid) for name, one in servers.items()}
        shares = _shares(url, requests, bench.options.command_seconds)
    finally:
        await bench.drop(_DATABASE)
    return _rows_of_http(found, idle, after) + _rows_without_http(without_http, found) + shares


@contextmanager
def _servers(url: str) -> Iterator[dict[str, Served]]:
    environment = _environment(url)
    with ExitStack() as running:

        def start(name: str, *argv: str) -> Served:
            return running.enter_context(serving(name, argv, environment, "/readyz"))

        yield {
            API: start(API, "-m", "readside", "command-api", "--port", "{port}"),
            WITHOUT_OUTBOX: start(WITHOUT_OUTBOX, "-m", "bench.serving", "without-outbox", "{port}"),
        }


def _environment(url: str) -> dict[str, str]:
    return {"READSIDE_POSTGRES_URL": url, "READSIDE_JWT_SECRET": _SECRET, "READSIDE_LOG_FORMAT": "json"}


def placing_requests(secret: str) -> list[bytes]:
    """Orders of three products each, of the one member, under a token that this secret signs."""
    settings = Settings(_env_file=None, jwt_secret=secret, jwt_lifetime_seconds=30 * 86_400)  # type: ignore[call-arg,arg-type]
    token = Tokens(settings).issue(MEMBER_ID, ["customer"])
    rng = random.Random(1)  # noqa: S311  (repeatable load, no secret)
    shipping = {
        "receiver": {"name": "Ann", "phone": "555-0100"},
        "address": {"zip_code": "12345", "address1": "1 Example Street", "address2": ""},
        "message": "ring twice",
    }
    return [
        post(
            "/orders",
            {
                "lines": [{"product_id": product_id, "quantity": 1} for product_id in chosen(rng)],
                "shipping_info": shipping,
            },
            {"Authorization": f"Bearer {token}"},
        )
        for _ in range(_REQUESTS)
    ]


def _placed(kind: str, url: str, connections: int, seconds: float) -> float:
    command = [sys.executable, "-m", "bench.placing", kind, url, str(connections), str(seconds)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  (our own code)
    return float(json.loads(told.stdout))


def _rows_of_http(found: dict[tuple[str, int], list[Load]], idle: dict[str, int], after: dict[str, int]) -> list[Row]:
    median = {key: statistics.median(one.a_second for one in loads) for key, loads in found.items()}
    return [
        {
            "ratio": round(median[name, connections] / median[_REFERENCE[name], connections], 2),
            "ratio_of": f"to {_REFERENCE[name]}",
            "way": name,
            "connections": connections,
            "orders_a_second": round(median[name, connections]),
            "p50_ms": round(statistics.median(one.p50_ms for one in loads), 2),
            "p99_ms": round(statistics.median(one.p99_ms for one in loads), 2),
            "server_busy": statistics.median(one.server_busy for one in loads),
            "ms_of_processor": round(statistics.median(1000 * one.server_busy / one.a_second for one in loads), 3),
            "idle_mb": idle[name],
            "after_mb": after[name],
        }
        for (name, connections), loads in sorted(found.items(), key=lambda item: (item[0][1], item[0][0]))
    ]


def _rows_without_http(
    found: dict[tuple[str, int], list[float]], by_http: dict[tuple[str, int], list[Load]]
) -> list[Row]:
    median = {key: statistics.median(rates) for key, rates in found.items()}
    http = {key: statistics.median(one.a_second for one in loads) for key, loads in by_http.items()}
    return [
        {
            "ratio": round(median["readside", connections] / median[kind, connections], 2),
            "ratio_of": f"Readside to {kind}",
            "way": f"{kind}, no HTTP",
            "connections": connections,
            "orders_a_second": round(median[kind, connections]),
            "http_to_this": round(http[API, connections] / median[kind, connections], 2),
        }
        for kind, connections in sorted(median, key=lambda key: (key[1], list(placing.WAYS).index(key[0])))
    ]


def _shares(url: str, requests: list[bytes], seconds: float) -> list[Row]:
    """Whose code the API's processor time goes to, under 16 connections; looking costs a little of it itself."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shares.json"
        argv = ("-m", "bench.serving", "counted", "{port}")
        with serving("counted", argv, _environment(url) | {"BENCH_SHARES": str(file)}, "/readyz") as server:
            load(server.port, server.pid, requests, 16, 2 * seconds)
        looks: dict[str, int] = json.loads(file.read_text())
    total = sum(looks.values())
    most_first = sorted(looks.items(), key=lambda item: -item[1])
    return [{"way": f"of a request: {owner}", "share": round(count / total, 2)} for owner, count in most_first]


def _megabytes(pid: int) -> int:
    return round(psutil.Process(pid).memory_info().rss / 2**20)


def _options(arguments: ArgumentParser) -> None:
    arguments.add_argument("--command-connections", type=int, nargs="*", default=[1, 16, 64], help="of command")
    arguments.add_argument("--command-seconds", type=float, default=2.0, help="of each measurement, of command")


part = Part(
    "command",
    "(c) command API, orders placed a second",
    measure,
    plots=[Plot("connections", ("orders_a_second",), "way", only=lambda row: "connections" in row)],
    orders=(),
    options=_options,
)
