"""``python -m tests.torture --seconds 600 --seed 7``: exits with 1 where anything was wrong."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.torture.faults import FAULTS
from tests.torture.report import Report
from tests.torture.run import at_random, torture


def say(line: str) -> None:
    """To standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def run(seconds: float, seed: int, only: list[str], traders: int, folder: Path) -> Report:
    """One run, reported."""
    say(f"torture for {seconds:.0f} s, SEED={seed}; logs in {folder}")
    schedule = at_random(seed, seconds, only)
    report, ledger = await torture(folder, schedule, seed=seed, traders=traders, small_disk=True, say=say)
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
    parser.add_argument("--folder", type=Path, default=None, help="where data and logs go, and stay")
    asked = parser.parse_args()
    seed = secrets.randbelow(10**6) if asked.seed is None else asked.seed
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="readside-torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(run(asked.seconds, seed, asked.only, asked.traders, folder))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
