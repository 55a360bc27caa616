"""``python -m tests.torture --seconds 600 --seed 7``: exits with 1 where anything was wrong."""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.torture.faults import FAULTS
from tests.torture.report import Report
from tests.torture.run import SHORT, Schedule, at_random, torture


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run(seed: int, schedule: Schedule, traders: int, folder: Path) -> Report:
    """One run, reported."""
    say(f"torture with SEED={seed}; logs in {folder}")
    report, ledger = await torture(
        folder, schedule, seed=seed, traders=traders, small_disk=schedule is not SHORT, say=say
    )
    say("")
    say(report.summary(ledger))
    return report


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="decides load and faults; printed where it is not given")
    parser.add_argument("--traders", type=int, default=6)
    parser.add_argument("--only", nargs="+", choices=list(FAULTS), default=[], metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--short", action="store_true", help="the fixed schedule that is part of the tests")
    parser.add_argument("--folder", type=Path, default=None, help="where data and logs go, and stay")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="readside-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    schedule = SHORT if asked.short else at_random(seed, asked.seconds, asked.only)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run(seed, schedule, asked.traders, folder))
    if report.wrong:
        return 1
    if asked.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
