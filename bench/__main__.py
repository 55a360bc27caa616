"""``make bench``: measurements on databases of their own, one page of figures, and the same as JSON.

``python -m bench old-snapshot`` takes half an hour and is run when asked for by name.
"""

import argparse
import asyncio
import json
import os
import platform
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from bench import catch_up, importing, lag, old_snapshot, rebuild
from bench.workload import fill_log
from command.migrations import migrate
from readside.embedded.mongo import EmbeddedMongo
from readside.embedded.postgres import EmbeddedPostgres
from readside.embedded.start import start
from readside.supervisor import Supervisor

console = Console()


@asynccontextmanager
async def databases() -> AsyncIterator[tuple[str, str]]:
    """The embedded databases, as `readside up` starts them, on a directory that goes away."""
    with tempfile.TemporaryDirectory(prefix="readside-bench-", ignore_cleanup_errors=True) as folder:
        supervisor = Supervisor(log=lambda _name, _line: None, on_start=lambda: None)
        postgres, mongo = EmbeddedPostgres(Path(folder)), EmbeddedMongo(Path(folder))
        try:
            await start(supervisor, [postgres, mongo])
            yield postgres.url, mongo.url
        finally:
            await supervisor.end()
            postgres.clear()


async def fresh(url: str, name: str) -> str:
    """A migrated, empty database."""
    connection = await asyncpg.connect(url)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    fresh_url = url.replace("/readside?", f"/{name}?")
    await migrate(fresh_url)
    return fresh_url


async def main(orders: int, rounds: int, only: set[str], old: argparse.Namespace) -> None:
    """Run what was asked for and print it. ``old``: ``seconds``, ``rate`` and ``held`` of the old snapshot."""
    found: dict[str, Any] = {}
    async with databases() as (postgres, mongo):
        console.print(f"[bold]Readside[/bold] · {os.cpu_count()} cores · {await _versions(postgres, mongo)}")
        if "catch-up" in only:
            url = await fresh(postgres, "bench_catch_up")
            head = await fill_log(url, orders)
            found["catch_up"] = await catch_up.measure((url, mongo), head, rounds)
            show("(a) catch-up of all views, events a second", [found["catch_up"]])
        if "rebuild" in only:
            url = await fresh(postgres, "bench_rebuild")
            head = await fill_log(url, orders)
            found["rebuild"] = await rebuild.measure((url, mongo), head, rounds)
            show("(e) rebuild of one view, events a second", found["rebuild"])
        if "lag" in only:
            url = await fresh(postgres, "bench_lag")
            await fill_log(url, 200)
            found["lag"] = [await lag.measure((url, mongo), "bench_lag", rate, 15) for rate in (100, 300)]
            show("(b) commit to visible", found["lag"])
        if "import" in only:
            url = await fresh(postgres, "bench_import")
            found["import"] = await importing.measure(url)
            show("(c) import of an Online Retail file", [found["import"]])
        if "old-snapshot" in only:
            found["old_snapshot"] = []
            for held in old.held:
                url, free = await fresh(postgres, f"bench_held_{held}"), await fresh(postgres, f"bench_free_{held}")
                rows = await old_snapshot.measure(url, free, held, old.rate, old.seconds)
                found["old_snapshot"] += rows
                show(f"(d) milliseconds of one sequencer run at {old.rate} events a second; held: {held}", rows)
    file = Path(__file__).parent / "results" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(found, indent=2))
    console.print(f"as JSON: {file}")


def show(title: str, rows: list[dict[str, Any]]) -> None:
    """One table; ratios first where there is one."""
    columns = sorted(rows[0], key=lambda column: column != "ratio")
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(row[column] if isinstance(row[column], str) else f"{row[column]:,}" for column in columns))
    console.print(table)


async def _versions(postgres: str, mongo: str) -> str:
    connection = await asyncpg.connect(postgres)
    postgres_version = await connection.fetchval("SHOW server_version")
    await connection.close()
    mongo_version = MongoClient[dict[str, Any]](mongo).server_info()["version"]
    return f"PostgreSQL {postgres_version} · MongoDB {mongo_version} · Python {platform.python_version()}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="make bench")
    arguments.add_argument("parts", nargs="*", default=["catch-up", "rebuild", "lag", "import"])
    arguments.add_argument("--orders", type=int, default=40_000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=600, help="of old-snapshot")
    arguments.add_argument("--rate", type=int, default=300, help="events a second, of old-snapshot")
    arguments.add_argument("--held", nargs="*", default=old_snapshot.HELD, choices=old_snapshot.HELD)
    given = arguments.parse_args()
    asyncio.run(main(given.orders, given.rounds, set(given.parts), given))
