"""Every call of all three documents, as the document allows it and as it does not: schemathesis finds nothing.

It sends examples, the edges of every schema, what breaks every schema, and sequences of calls that feed each other,
to a running shop; answers must have a status, a media type, headers and a body that the document names.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from readside.run_file import Run
from runtime.settings import Settings
from runtime.tokens import Tokens, secret_of
from tests.e2e.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ST = str(Path(sys.executable).with_name("st"))
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A shop with something in it, where nobody is told to come back later."""
    generous = {
        f"READSIDE_{name}": "1000000"
        for name in ("SIGN_UPS_PER_MINUTE", "TOKENS_PER_MINUTE", "PASSWORD_FAILURES_PER_MINUTE")
    }
    with Stack(tmp_path_factory.mktemp("fuzzed") / "data", "--demo", environment=generous) as stack:
        stack.until_ready()
        yield stack


@pytest.mark.parametrize("process", ["command", "query", "projector"])
def test_nothing_is_found(stack: Stack, process: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{_port(stack.run(), process)}"
    secret = SecretStr(secret_of(stack.data_dir) or "")
    token = Tokens(Settings(jwt_secret=secret)).issue("fuzzer", ["customer", "staff", "operator"])

    ended = subprocess.run(
        [
            *(ST, "--config-file", str(CONFIG), "run", f"{url}/openapi.json"),
            *("-H", f"Authorization: Bearer {token}"),
            *("-H", "Prefer: wait=0"),  # what waits for something to happen would wait here for nothing
            *("--exclude-path-regex", "/stream$"),  # these have no end
            *("--request-timeout", "60", "--suppress-health-check", "all", "--workers", "1", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2_000:]
    assert "request crashed" not in stack.log()


def _port(run: Run, process: str) -> int:
    ports = {"command": run.command_port, "query": run.query_port, "projector": run.projector_port}
    return ports[process]
