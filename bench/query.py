"""(d) The query API: an order, a list and sixty days of sales, against what else could answer.

Against a hello of the same server and framework, which is what nobody can beat; and against APIs without a read side
(`bench.without_views`), whose answers are compared with the query API's before anything is measured. All servers run
side by side, each with one worker, and are loaded in turns, in every round all of them; the databases, the projector
and the load itself share the machine with whoever is being loaded. Where others use the machine too, ``a_busy_second``
is the figure to compare: requests per second of processor time that the server got.

The query API keeps what it has rendered until it is written (`query.remembered`, `query.shared`), and nothing is
written while this measures. So it is measured with nothing kept as well: what nobody asked for before costs as much.
"""

import json
import random
import statistics
import time
import urllib.request
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from pymongo import MongoClient

from bench import normalized
from bench.load import Load, get, load
from bench.projectors import running_projector
from bench.serving import Served, serving
from bench.suite import Bench, Part, Plot, Row
from bench.workload import fill_log
from runtime.settings import Settings
from runtime.tokens import Tokens
from tests.instances import ORDER_DETAIL
from views import all_views

_DATABASE = "bench_query"
_SECRET = "x" * 32
SALES = "/statistics/sales?from=2026-01-01&to=2026-03-01"
_MOST_IDS = 20_000
_COMPARED = 25

READSIDE, QUIET, FRESH = "readside", "readside, no access log", "readside, nothing kept"
_KEEP_NOTHING = """
from query import remembered, shared
remembered.KEPT_SECONDS = shared.KEPT_SECONDS = -1.0
from readside.cli import main
main()
"""
_OURS = ("-m", "readside", "query-api", "--port", "{port}")
HELLO, BARE = "FastAPI hello", "bare ASGI hello"
WITHOUT = {"selectin": "ORM, selectin", "joined": "ORM, joined", "statement": "one SQL statement"}


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    paths: list[str]
    servers: tuple[str, ...]


async def measure(bench: Bench) -> list[Row]:
    """Requests a second and milliseconds, of every server and question; ratios to readside with its access log."""
    url = await bench.fresh(_DATABASE)
    head = await fill_log(url, bench.orders)
    try:
        with running_projector((url, bench.mongo), _DATABASE):
            ids = ids_when_caught_up(bench.mongo, head, _DATABASE)
            await normalized.fill(url, bench.mongo, _DATABASE, ORDER_DETAIL)
            with _servers((url, bench.mongo)) as servers:
                idle = {name: _megabytes(one.pid) for name, one in servers.items()}
                _compare(servers, ids)
                found = _measured(bench, servers, _questions(ids))
                return _rows(found, idle, {name: _megabytes(one.pid) for name, one in servers.items()})
    finally:
        with MongoClient[dict[str, Any]](bench.mongo) as client:
            client.drop_database(_DATABASE)
        await bench.drop(_DATABASE)


def ids_when_caught_up(mongo: str, head: int, database_name: str) -> list[str]:
    """Of many of the orders, by chance."""
    with MongoClient[dict[str, Any]](mongo) as client:
        database = client[database_name]
        at_head = {"position": {"$gte": head}}
        while database["checkpoints"].count_documents(at_head) < len(all_views()):
            time.sleep(0.1)
        sample = [{"$sample": {"size": _MOST_IDS}}, {"$project": {"_id": 1}}]
        return sorted(found["_id"] for found in database[ORDER_DETAIL].aggregate(sample))


@contextmanager
def query_api(bench: Bench, database: str) -> Iterator[Served]:
    """The query API alone, over the views of a database."""
    with serving(READSIDE, _OURS, _environment(bench.urls, database), "/readyz") as server:
        yield server


def _environment(urls: tuple[str, str], database: str) -> dict[str, str]:
    return {
        "READSIDE_POSTGRES_URL": urls[0],
        "READSIDE_MONGO_URL": urls[1],
        "READSIDE_MONGO_DATABASE": database,
        "READSIDE_JWT_SECRET": _SECRET,
        "READSIDE_LOG_FORMAT": "json",
    }


@contextmanager
def _servers(urls: tuple[str, str]) -> Iterator[dict[str, Served]]:
    environment = _environment(urls, _DATABASE)
    with ExitStack() as running:

        def start(name: str, argv: tuple[str, ...], ready: str, **more: str) -> Served:
            return running.enter_context(serving(name, argv, environment | more, ready))

        yield {
            READSIDE: start(READSIDE, _OURS, "/readyz"),
            QUIET: start(QUIET, _OURS, "/readyz", READSIDE_ACCESS_LOG="false"),
            FRESH: start(FRESH, ("-c", _KEEP_NOTHING, *_OURS[2:]), "/readyz"),
            HELLO: start(HELLO, ("-m", "bench.serving", "fastapi", "{port}"), "/"),
            BARE: start(BARE, ("-m", "bench.serving", "bare", "{port}"), "/"),
            **{
                name: start(name, ("-m", "bench.serving", how, "{port}"), "/openapi.json")
                for how, name in WITHOUT.items()
            },
        }


def _questions(ids: list[str]) -> list[_Question]:
    ours = (READSIDE, FRESH)
    without = tuple(WITHOUT.values())
    # Of the sums there is one way by the ORM: nothing is loaded along.
    plainly = tuple(name for name in without if name != WITHOUT["joined"])
    return [
        _Question("hello", ["/"], (HELLO, BARE)),
        _Question("order detail", [f"/orders/{order_id}" for order_id in ids], (*ours, QUIET, *without)),
        _Question("order list", ["/orders?limit=20"], (*ours, *plainly)),
        _Question("sales, 60 days", [SALES], (*ours, *plainly)),
        _Question("sales, all ranges differ", _ranges(), ours),
    ]


def _ranges() -> list[str]:
    return [
        f"/statistics/sales?from=2026-01-{first:02d}&to=2026-03-{last:02d}"
        for first in range(1, 29)
        for last in range(1, 29)
    ]


def _measured(
    bench: Bench, servers: Mapping[str, Served], questions: list[_Question]
) -> dict[tuple[str, str, int], list[Load]]:
    token = authorization()
    found: dict[tuple[str, str, int], list[Load]] = {}
    for _ in range(bench.rounds):
        for question in questions:
            requests = [get(path, token) for path in question.paths]
            for connections in bench.options.connections:
                for name in question.servers:
                    server = servers[name]
                    one = load(server.port, server.pid, requests, connections, bench.options.load_seconds)
                    found.setdefault((question.name, name, connections), []).append(one)
    return found


def _rows(
    found: Mapping[tuple[str, str, int], list[Load]], idle: Mapping[str, int], after: Mapping[str, int]
) -> list[Row]:
    median = {key: statistics.median(one.a_second for one in loads) for key, loads in found.items()}
    rows = []
    for (question, server, connections), loads in found.items():
        ours = median.get((question, READSIDE, connections))
        rows.append(
            {
                "ratio_to_hello": round(median[question, server, connections] / median["hello", HELLO, connections], 2),
                "ratio_of_readside": "" if ours is None else round(ours / median[question, server, connections], 2),
                "question": question,
                "server": server,
                "connections": connections,
                "a_second": round(median[question, server, connections]),
                "p50_ms": statistics.median(one.p50_ms for one in loads),
                "p99_ms": statistics.median(one.p99_ms for one in loads),
                "server_busy": statistics.median(one.server_busy for one in loads),
                "a_busy_second": round(statistics.median(one.a_second / one.server_busy for one in loads)),
                "idle_mb": idle[server],
                "after_mb": after[server],
            }
        )
    return rows


def _compare(servers: Mapping[str, Served], ids: list[str]) -> None:
    """Nothing is compared with what answers something else."""
    some = random.Random(1).sample(ids, min(_COMPARED, len(ids)))  # noqa: S311  (repeatable, no secret)
    for path in [*(f"/orders/{order_id}" for order_id in some), "/orders?limit=20", SALES]:
        expected = _comparable(servers[READSIDE], path)
        for name in WITHOUT.values():
            assert _comparable(servers[name], path) == expected, f"{name} answers {path} with something else"


def _comparable(server: Served, path: str) -> dict[str, Any]:
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers=authorization())
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310  (our own server)
        told: dict[str, Any] = json.load(answer)
    beside = ("next_cursor", "granularity", "time_zone", "as_of", *(["currency"] if "rows" in told else []))
    return {name: value for name, value in told.items() if name not in beside}


def authorization() -> dict[str, str]:
    """Of staff, as a header."""
    settings = Settings(_env_file=None, jwt_secret=_SECRET, jwt_lifetime_seconds=30 * 86_400)  # type: ignore[call-arg,arg-type]
    return {"Authorization": f"Bearer {Tokens(settings).issue('bench', ['staff'])}"}


def _megabytes(pid: int) -> int:
    return round(psutil.Process(pid).memory_info().rss / 2**20)


def _options(arguments: ArgumentParser) -> None:
    arguments.add_argument("--connections", type=int, nargs="*", default=[16, 64], help="of query, one after the other")
    arguments.add_argument("--load-seconds", type=float, default=2.0, help="of each measurement, of query")


def _plot(connections: int) -> Plot:
    return Plot("question", ("a_second", "p99_ms"), "server", only=lambda row: row["connections"] == connections)


part = Part(
    "query",
    "(d) query API, requests a second",
    measure,
    plots=[_plot(16), _plot(64)],
    orders=(10_000, 40_000),
    options=_options,
)
