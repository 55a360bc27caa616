"""``make bench`` or ``python -m bench PART…``: measurements on databases of their own.

Each part prints one table with its ratios first. The same stands as JSON, with pictures beside it, in the folder that
is named at the end.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.databases import databases
from bench.parts import PARTS
from bench.plots import draw
from bench.suite import Bench, Part, Row, console, head, show, show_head

_RESULTS = Path(__file__).parent / "results"


async def main(parts: Sequence[Part], options: argparse.Namespace) -> None:
    """Run these parts and tell what they found."""
    results = _RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    results.mkdir(parents=True)
    found: dict[str, Any] = {}
    async with databases() as (postgres, mongo):
        told = await head(postgres, mongo)
        show_head(told)
        for part in parts:
            rows: list[Row] = []
            # Without orders of its own a part runs once.
            for orders in (options.orders or part.orders) if part.orders else (0,):
                measured = await part.measure(Bench(postgres, mongo, orders, options.rounds, options))
                show(part.title + (f", {orders:,} orders" if orders else ""), measured)
                rows += [{**row, "orders": orders} for row in measured] if orders else measured
            found[part.name] = rows
            said = {"head": told, "options": vars(options), "parts": found}
            (results / "figures.json").write_text(json.dumps(said, indent=2))
            for number, plot in enumerate(part.plots):
                draw(plot, part.title, rows, results / f"{part.name}-{number + 1}.png")
    console.print(f"as JSON, with pictures: {results}")


def _arguments() -> argparse.ArgumentParser:
    arguments = argparse.ArgumentParser(
        prog="python -m bench",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="parts:\n" + "\n".join(f"  {part.name:14} {part.title}" for part in PARTS.values()),
    )
    arguments.add_argument("parts", nargs="*", metavar="PART", help="all but the long ones where none is named")
    arguments.add_argument("--orders", type=int, nargs="*", help="how many there are; of several, one after the other")
    arguments.add_argument("--rounds", type=int, default=3, help="of each measurement; medians are told")
    for part in PARTS.values():
        part.options(arguments)
    return arguments


if __name__ == "__main__":
    arguments = _arguments()
    given = arguments.parse_intermixed_args()
    if unknown := set(given.parts) - PARTS.keys():
        arguments.error(f"no such part: {', '.join(sorted(unknown))}")
    named = [part for part in PARTS.values() if part.name in given.parts or (not given.parts and part.by_default)]
    asyncio.run(main(named, given))
