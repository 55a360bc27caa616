"""The README's walk through one order, run as it stands, against a running shop."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.e2e.stack import Stack

ROOT = Path(__file__).parents[2]
_DECODER = json.JSONDecoder()


def _script() -> str:
    page = (ROOT / "README.md").read_text()
    walk = re.search(r"<!-- walk: begin.*?```bash\n(.*?)```\n<!-- walk: end", page, re.DOTALL)
    assert walk is not None
    return walk.group(1)


def json_documents(text: str) -> list[object]:
    """One after the other, as several calls print them."""
    documents, rest = [], text.strip()
    while rest:
        document, end = _DECODER.raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()
    return documents


def test_the_walk_through_one_order_works_as_written(tmp_path: Path) -> None:
    with Stack(tmp_path / "data") as stack:
        run = stack.until_ready()
        script = (
            _script()
            .replace("http://127.0.0.1:8001", f"http://127.0.0.1:{run.command_port}")
            .replace("http://127.0.0.1:8002", f"http://127.0.0.1:{run.query_port}")
            .replace(".venv/bin/readside", str(Path(sys.executable).with_name("readside")))
        )
        environment = os.environ | {"READSIDE_DATA_DIR": str(tmp_path / "data")}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    product, member, detail, statistics, events = json_documents(done.stdout)
    assert isinstance(detail, dict)
    assert isinstance(statistics, dict)
    assert isinstance(events, list)
    assert [type(answer) for answer in (product, member)] == [dict, dict]
    assert (detail["status"], detail["total_amount"], detail["orderer"]["name"]) == ("SHIPPED", 500, "Mina")
    assert statistics["totals"]["gross_sales"] == 500
    assert [event["type"] for event in events] == ["OrderPlaced", "PaymentRequested", "OrderPaid", "ShippingStarted"]
