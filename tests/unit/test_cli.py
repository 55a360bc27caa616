"""The command line: readable, quick, and honest in its exit status."""

import json
import os
import signal
import subprocess
import sys
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
from msgspec.structs import replace

from readside import run_file
from readside.errors import NothingRunningError
from readside.run_file import Run, Running
from readside.settings import resolved_settings
from runtime.errors import SettingsError
from runtime.settings import load_settings

SECRET = "x" * 40


def readside(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "readside", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=folder,
        env=os.environ | environment,
    )


@pytest.fixture
def living_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run file whose supervisor is this test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READSIDE_DATA_DIR", str(tmp_path))
    run = Run(
        supervisor=Running.of(os.getpid()),
        postgres_url="postgresql://postgres@/readside?host=%2Fsomewhere",
        mongo_url="mongodb://127.0.0.1:1/?replicaSet=rs0",
        host="127.0.0.1",
        command_port=1,
        query_port=2,
        projector_port=3,
        payment_gateway_url="http://127.0.0.1:4",
    )
    run_file.write(tmp_path, run)
    return run


def test_help_explains_every_command(tmp_path: Path) -> None:
    done = readside("--help", folder=tmp_path)
    assert done.returncode == 0
    for command in ("up", "command-api", "query-api", "projector", "console", "payment-simulator", "token", "migrate"):
        assert any(line.split()[:1] == [command] and len(line.split()) > 3 for line in done.stdout.splitlines())


def test_a_token_carries_what_was_asked_for(tmp_path: Path) -> None:
    asked = ("--subject", "ada", "--scope", "staff", "--scope", "operator", "--lifetime", "60")
    done = readside("token", *asked, folder=tmp_path, READSIDE_JWT_SECRET=SECRET)
    claims = json.loads(urlsafe_b64decode(done.stdout.split(".")[1] + "=="))
    assert (claims["sub"], claims["scope"], claims["exp"] - claims["iat"]) == ("ada", "staff operator", 60)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("token", "--subject", "ada", "--scope", "staff"), "readside: there is no secret to sign with"),
        (("migrate",), "readside: nothing is running on .readside: start `readside up`, or set READSIDE_POSTGRES_URL"),
        (("query-api",), "readside: nothing is running on .readside: start `readside up`, or set READSIDE_MONGO_URL"),
    ],
)
def test_what_is_missing_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], sentence: str) -> None:
    done = readside(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == 1


def test_an_unknown_scope_is_refused(tmp_path: Path) -> None:
    done = readside("token", "--subject", "ada", "--scope", "root", folder=tmp_path, READSIDE_JWT_SECRET=SECRET)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "readside: --scope root: there are only customer, staff, operator\n"


def test_what_a_living_up_wrote_down_is_used(living_run: Run) -> None:
    settings = resolved_settings()
    assert (settings.postgres_url, settings.mongo_url) == (living_run.postgres_url, living_run.mongo_url)


def test_a_process_that_is_started_beside_up_pays_at_the_same_gateway(
    living_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert resolved_settings().payment_gateway_url == living_run.payment_gateway_url

    monkeypatch.setenv("READSIDE_PAYMENT_GATEWAY_URL", "https://gateway.example")
    assert resolved_settings().payment_gateway_url == "https://gateway.example"


@pytest.mark.parametrize("url", ["gateway.example", "ftp://gateway.example", "http://", "http://host:port"])
def test_what_is_no_url_of_a_gateway_is_refused_in_one_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READSIDE_PAYMENT_GATEWAY_URL", url)
    with pytest.raises(SettingsError, match=r"^READSIDE_PAYMENT_GATEWAY_URL: not a URL of the form https://host:port$"):
        load_settings()


def test_a_command_that_needs_no_postgres_is_not_told_where_it_is(living_run: Run) -> None:
    settings = resolved_settings(postgres=False)
    assert (settings.postgres_url, settings.mongo_url) == (None, living_run.mongo_url)


def test_explicit_settings_win(living_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READSIDE_MONGO_URL", "mongodb://elsewhere/?replicaSet=rs0")
    settings = resolved_settings()
    assert settings.mongo_url == "mongodb://elsewhere/?replicaSet=rs0"
    assert settings.postgres_url == living_run.postgres_url


def test_what_a_dead_up_wrote_down_is_not_used(living_run: Run, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        run_file.write(tmp_path, replace(living_run, supervisor=Running.of(process.pid)))
        process.send_signal(signal.SIGKILL)
    with pytest.raises(NothingRunningError):
        resolved_settings()


def test_a_process_id_that_was_given_away_is_not_mistaken_for_a_living_up(living_run: Run, tmp_path: Path) -> None:
    earlier = Running(os.getpid(), living_run.supervisor.started - 60)
    run_file.write(tmp_path, replace(living_run, supervisor=earlier))
    with pytest.raises(NothingRunningError):
        resolved_settings()
