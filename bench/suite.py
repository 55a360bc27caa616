"""What all parts of the suite share: how one is declared, what it is given, and how its figures are told.

A part is one file with a ``part`` in it, named in `bench.parts`. It measures things in turns, returns rows, and says
which of their columns are worth a picture; the rest is done here.
"""

import os
import platform
import re
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import psutil
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from command.migrations import migrate

console = Console()
if not console.is_terminal:
    # A file has no width: folded tables are of no use in it.
    console = Console(width=180)

Row = dict[str, Any]
_LIBRARIES = ("fastapi", "starlette", "uvicorn", "uvloop", "pydantic", "msgspec", "pymongo", "asyncpg", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture of rows: per ``series`` one line over ``x``, in one panel per column of ``panels``.

    Where ``x`` is a list of names, bars stand beside each other instead.
    """

    x: str
    panels: Sequence[str]
    series: str
    only: Callable[[Row], bool] = lambda _: True
    logarithmic: bool = False
    """Both axes: of what goes over several orders of magnitude."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What a part is given: two databases, how many orders there are to be, and what was said on the command line."""

    postgres: str
    mongo: str
    orders: int
    rounds: int
    options: Namespace

    @property
    def urls(self) -> tuple[str, str]:
        """Of the servers."""
        return self.postgres, self.mongo

    async def fresh(self, name: str) -> str:
        """The URL of a migrated, empty Postgres database of this name."""
        connection = await asyncpg.connect(self.postgres)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        url = self.postgres.replace("/readside?", f"/{name}?")
        await migrate(url)
        return url

    async def drop(self, name: str) -> None:
        """Make room: away with what `fresh` made."""
        connection = await asyncpg.connect(self.postgres)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


@dataclass(frozen=True, slots=True)
class Part:
    """One command of the suite."""

    name: str
    title: str
    measure: Callable[[Bench], Awaitable[list[Row]]]
    plots: Sequence[Plot] = ()
    by_default: bool = True
    """Whether it runs when no part is named."""
    orders: Sequence[int] = (40_000,)
    """How many orders there are unless somebody says so; none where their number is not its business."""
    options: Callable[[ArgumentParser], object] = field(default=lambda _: None)
    """Adds those that are this part's own."""


def show(title: str, rows: Sequence[Row]) -> None:
    """One table; ratios first."""
    columns = sorted(dict.fromkeys(name for row in rows for name in row), key=lambda name: not name.startswith("ratio"))
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*(_shown(row.get(column, "")) for column in columns))
    console.print(table)


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


async def head(postgres: str, mongo: str) -> dict[str, Any]:
    """The machine, and what runs on it."""
    connection = await asyncpg.connect(postgres)
    postgres_version = await connection.fetchval("SHOW server_version")
    await connection.close()
    with MongoClient[dict[str, Any]](mongo) as client:
        mongo_version = client.server_info()["version"]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(os.getloadavg()[0], 2),
        "commit": _commit(),
        "versions": {
            "PostgreSQL": postgres_version,
            "MongoDB": mongo_version,
            "Python": platform.python_version(),
            **{name: version(name) for name in _LIBRARIES},
        },
    }


def show_head(told: dict[str, Any]) -> None:
    """The same, above the tables."""
    machine = f"{told['cores']} cores of {told['processor']}, {told['memory_gb']} GB, {told['system']}"
    console.print(f"[bold]Readside[/bold] {told['commit']} · {machine}, load before: {told['load_before']}")
    console.print(" · ".join(f"{name} {number}" for name, number in told["versions"].items()), style="dim")


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _commit() -> str:
    root = Path(__file__).parent
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True)  # noqa: S607
    return told.stdout.strip() or version("readside")
