"""Import: orders a second from an Online Retail file, through the domain, to the last commit."""

import csv
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bench.suite import Bench, Part, Row

INVOICES = 3_000
HEADER = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


async def measure(url: str) -> dict[str, Any]:
    """Import a generated file with as many lines an invoice as the real ones have (about 21)."""
    with tempfile.TemporaryDirectory(prefix="readside-bench-") as folder:
        file = Path(folder) / "retail.csv"
        lines = _write(file)
        environment = {
            **os.environ,
            "READSIDE_POSTGRES_URL": url,
            "READSIDE_CURRENCY": "GBP",
            "READSIDE_LOG_LEVEL": "warning",
        }
        started = time.perf_counter()
        done = subprocess.run(  # noqa: ASYNC221, S603  (nothing else runs meanwhile; our own command)
            [sys.executable, "-m", "readside", "import", "online-retail", str(file)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        said = re.search(r"([\d,.]+) orders a second", done.stdout + done.stderr)
        return {
            "invoices": INVOICES,
            "lines": lines,
            "orders_a_second": round(float(said.group(1).replace(",", ""))) if said else 0,
            "with_start_of_the_command": round(INVOICES / seconds),
        }


def _write(file: Path) -> int:
    rng = random.Random(1)  # noqa: S311  (repeatable load, no secret)
    written = 0
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(HEADER)
        for number in range(INVOICES):
            at = datetime(2010, 12, 1, 8, 0) + timedelta(minutes=number)  # noqa: DTZ001  (the file's own local times)
            for _ in range(max(1, round(rng.expovariate(1 / 21)))):
                product = int(2_500 * rng.random() ** 2)
                price = f"{(50 + product % 900) / 100:.2f}"
                rows.writerow(
                    (
                        500_000 + number,
                        f"{20_000 + product}",
                        f"GIFT {product}",
                        rng.randint(1, 24),
                        at.strftime("%d/%m/%Y %H:%M"),
                        price,
                        12_000 + number % 900,
                        "United Kingdom",
                    )
                )
                written += 1
    return written


async def _measure(bench: Bench) -> list[Row]:
    return [await measure(await bench.fresh("bench_import"))]


part = Part("import", "import of an Online Retail file", _measure, orders=())
