"""``readside up``: everything starts, comes back when killed, and ends without a trace."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from readside import run_file
from readside.programs import kill
from tests.e2e.stack import READSIDE, Stack, alive, family, is_ready, is_restarted, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the tests that leave it ready."""
    with Stack(tmp_path_factory.mktemp("shop") / "data") as stack:
        stack.until_ready()
        yield stack


def readside(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    return subprocess.run(
        [*READSIDE, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env=os.environ | (environment or {}),
    )


def ports(stack: Stack) -> list[int]:
    run = stack.run()
    return [run.command_port, run.query_port, run.projector_port]


def test_the_printed_block_names_every_url_and_how_to_get_a_token(stack: Stack) -> None:
    for port in ports(stack):
        assert is_ready(port)
        assert f"http://127.0.0.1:{port}/docs" in stack.printed()
    assert "readside token --subject" in stack.printed()


def test_the_console_is_announced_and_comes_by_itself(stack: Stack) -> None:
    run = stack.run()
    assert f"console      http://127.0.0.1:{run.console_port}\n" in stack.printed()
    wait_for(lambda: run.console_port is not None and is_ready(run.console_port), "the console")
    process = stack.run().children["console"].process()
    assert process is not None
    assert f"readside console --port {run.console_port}" in " ".join(process.cmdline())
    assert process.memory_info().rss < 150 * 1024 * 1024
    told = process.environ()
    assert [told[f"READSIDE_{name}"] for name in ("POSTGRES_URL", "MONGO_URL", "JWT_SECRET")] == ["", "", ""]


def test_a_person_finds_every_process_by_its_command_line(stack: Stack) -> None:
    for name in ("command-api", "query-api", "projector"):
        process = stack.run().children[name].process()
        assert process is not None
        assert f"readside {name} --port" in " ".join(process.cmdline())


def test_what_holds_secrets_is_readable_by_its_owner_alone(stack: Stack) -> None:
    for name in ("run.json", "jwt-secret", "postgres", "mongo", "socket"):
        assert (stack.data_dir / name).stat().st_mode & 0o077 == 0


def test_the_query_api_is_not_even_told_where_postgres_is(stack: Stack) -> None:
    process = stack.run().children["query-api"].process()
    assert process is not None
    assert not process.environ()["READSIDE_POSTGRES_URL"]


def test_token_prints_a_token_and_nothing_else(stack: Stack) -> None:
    done = readside("token", "--subject", "ada", "--scope", "staff", environment=beside(stack))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.strip().split(".")) == 3


def test_migrate_finds_the_running_postgres(stack: Stack) -> None:
    done = readside("migrate", environment=beside(stack))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["command-api", "query-api", "projector", "mongod", "postgres"])
def test_what_is_killed_comes_back_and_everything_is_ready_again(stack: Stack, name: str) -> None:
    before = stack.run().children[name]
    os.kill(before.pid, signal.SIGKILL)
    wait_for(lambda: is_restarted(stack, name, before), f"another {name}")
    wait_for(lambda: all(is_ready(port) for port in ports(stack)), "readiness")
    assert f"{name:<11} | ended (killed by SIGKILL); starting it again" in stack.log()


def test_payments_are_simulated_and_who_pays_while_the_simulator_is_killed_only_waits(stack: Stack) -> None:
    url = stack.run().payment_gateway_url
    assert url is not None
    assert f"payments     {url}" in stack.printed()
    wait_for(lambda: "payment-simulator" in stack.run().children, "the simulator's start")
    before = stack.run().children["payment-simulator"]
    process = before.process()
    assert process is not None
    assert "readside payment-simulator --port" in " ".join(process.cmdline())
    assert charged(url).status_code == 200

    os.kill(before.pid, signal.SIGKILL)
    process.wait(10)

    assert charged(url).status_code == 200
    assert is_restarted(stack, "payment-simulator", before)


def charged(url: str) -> httpx.Response:
    """A payment of one, asked for again and again."""
    body = {"payment_id": "pay-1", "amount": 1, "currency": "EUR"}
    return httpx.post(f"{url}/charges", json=body, headers={"Idempotency-Key": "a"}, timeout=30, trust_env=False)


def test_with_a_gateway_of_ones_own_nothing_is_simulated(tmp_path: Path) -> None:
    mine = {"READSIDE_PAYMENT_GATEWAY_URL": "http://127.0.0.1:1"}
    with Stack(tmp_path / "data", environment=mine) as stack:
        run = stack.until_ready()
        process = run.children["projector"].process()
        assert process is not None
        assert process.environ()["READSIDE_PAYMENT_GATEWAY_URL"] == run.payment_gateway_url == "http://127.0.0.1:1"
        assert "no money moves" not in stack.printed()
        stack.end()
        assert "payment-simulator" not in stack.log()


def test_a_second_up_on_the_same_data_directory_is_refused(stack: Stack) -> None:
    done = readside("up", "--data-dir", str(stack.data_dir))
    pid = stack.run().supervisor.pid
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"readside: another `readside up` (process {pid}) is running on {stack.data_dir}\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_end_leaves_no_process_and_a_second_start_continues(tmp_path: Path, number: signal.Signals) -> None:
    data_dir = tmp_path / "data"
    for _ in range(2):
        with Stack(data_dir) as stack:
            everybody = family(stack.until_ready())
            assert stack.end(number) == 0, stack.log()
            assert alive(everybody) == []
            left = sorted(path.name for path in data_dir.iterdir())
    files = ["jwt-secret", "lock", "mongo", "mongo-port", "mongod.log", "postgres", "postgres.log"]
    assert left == files
    assert "shutdown was interrupted" not in (data_dir / "postgres.log").read_text()


def test_two_stacks_run_side_by_side(stack: Stack, tmp_path: Path) -> None:
    with Stack(tmp_path / "data") as other:
        other.until_ready()
        assert set(ports(other)).isdisjoint(ports(stack))
        assert all(is_ready(port) for port in [*ports(stack), *ports(other)])


def test_a_killed_supervisor_leaves_no_orphans(tmp_path: Path) -> None:
    with Stack(tmp_path / "data") as stack:
        everybody = family(stack.until_ready())
        stack.end(signal.SIGKILL)
        wait_for(lambda: alive(everybody) == [], "the end of everybody")
    assert run_file.read(stack.data_dir) is not None
    assert run_file.read_living(stack.data_dir) is None


def test_killing_everything_at_once_loses_nothing_that_a_start_needs(tmp_path: Path) -> None:
    with Stack(tmp_path / "data") as stack:
        kill(family(stack.until_ready()))
        stack.process.wait()
    with Stack(tmp_path / "data") as stack:
        stack.until_ready()


def test_a_taken_port_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = readside("up", "--data-dir", str(tmp_path / "data"), "--query-port", str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"readside: --query-port: cannot listen on 127.0.0.1:{port} (")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "data" / "postgres").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("READSIDE_CURRENCY", "EURO"), ("READSIDE_TIME_ZONE", "Mars/Olympus"), ("READSIDE_MONGO_URL", "localhost")],
)
def test_a_bad_setting_is_refused_in_one_line_that_names_it(tmp_path: Path, name: str, value: str) -> None:
    done = readside("up", "--data-dir", str(tmp_path / "data"), environment={name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"readside: {name}: ")
    assert done.stderr.count("\n") == 1


def beside(stack: Stack) -> dict[str, str]:
    """The environment of a person who works beside a running stack."""
    return {"READSIDE_DATA_DIR": str(stack.data_dir)}
