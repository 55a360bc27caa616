"""``readside projections`` beside a running shop: a view is rebuilt while it is read, rolled back, and verified."""

import os
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.stack import READSIDE, Stack, wait_for
from tests.instances import ORDER_DETAIL
from views import all_views

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # many processes, on whatever machine


def _readside(data_dir: Path, *arguments: str, status: int = 0) -> str:
    environment = os.environ | {"READSIDE_DATA_DIR": str(data_dir)}
    done = subprocess.run([*READSIDE, *arguments], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_view_is_rebuilt_without_one_failed_answer_and_rolled_back(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with Stack(data_dir, "--demo", environment={"READSIDE_AUDIT_SECONDS": "2"}) as stack:
        run = stack.until_ready()
        token = _readside(data_dir, "token", "--subject", "me", "--scope", "staff", "--scope", "operator").strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{run.query_port}", headers=headers, timeout=30) as query:
            wait_for(lambda: len(_orders(query)) == 40, "the demo's orders")
            seen: list[Any] = []
            stop = threading.Event()
            reader = threading.Thread(target=lambda: _read_until(stop, query, seen))
            reader.start()
            rebuilt = _readside(data_dir, "projections", "rebuild", "order_detail", "--keep-old")
            wait_for(lambda: _is_switched(query, 2), "the new view")
            stop.set()
            reader.join()
            assert "40 documents, 0 differ" in rebuilt
            assert seen
            assert {len(orders) for orders in seen} == {40}

            _readside(data_dir, "projections", "rollback", "order_detail")
            wait_for(lambda: _is_idle(_readside(data_dir, "projections", "status")), "a view that is served, and idle")
            verified = _readside(data_dir, "projections", "verify")
            assert verified.count(", no difference.") == len(all_views()) + 1, verified  # and the reconciliation
            wait_for(lambda: _is_audited(run.projector_port), "the audit, and the totals of both sides")
            newest = _readside(data_dir, "events", "tail", "--no-follow", "-n", "3").splitlines()
            position = int(newest[-1].split()[0])
            assert [int(line.split()[0]) for line in newest] == [position - 2, position - 1, position]
            unknown = _readside(data_dir, "projections", "rebuild", "nothing", status=2)
            assert unknown.strip().splitlines() == ["readside: There is no projection named nothing."]


def _is_audited(projector_port: int) -> bool:
    metrics = httpx.get(f"http://127.0.0.1:{projector_port}/metrics", timeout=30).text.splitlines()
    drift = [line for line in metrics if line.startswith("readside_drift_documents{")]
    total = 'readside_reconciliation_difference{total="gross_sales by category"} 0.0'
    return len(drift) == len(all_views()) and all(line.endswith(" 0.0") for line in drift) and total in metrics


def _is_idle(status: str) -> bool:
    return re.search(rf"^{re.escape(ORDER_DETAIL)} +active +idle ", status, re.MULTILINE) is not None


def _orders(query: httpx.Client) -> list[Any]:
    answer = query.get("/orders", params={"limit": 100})
    assert answer.status_code == 200, answer.text
    items: list[Any] = answer.json()["items"]
    return items


def _read_until(stop: threading.Event, query: httpx.Client, seen: list[Any]) -> None:
    while not stop.is_set():
        seen.append(_orders(query))


def _is_switched(query: httpx.Client, count: int) -> bool:
    rows = [row for row in query.get("/projections").json()["items"] if row["name"] == "order_detail"]
    states = sorted(row["state"] for row in rows)
    return states == ["active", "previous"] and len(rows) == count
