"""The processes of Readside as `readside up` starts them: each is the command that a person would type."""

import os
import socket
import sys
from pathlib import Path

from readside.ports import port_of
from readside.programs import Program
from readside.run_file import Run
from runtime.settings import Settings


def program(name: str, port: int, settings: Settings, run: Run) -> Program:
    """One process, told about the stores through its environment."""
    return Program(name, (*_readside(), name, "--port", str(port)), environment=_environment(name, settings, run))


def payment_simulator(listening: socket.socket, settings: Settings, run: Run) -> Program:
    """The simulator on a socket that listens already: who connects before it runs, or between two of its lives, waits
    for it, and is not refused."""
    name = "payment-simulator"
    port, descriptor = str(port_of(listening)), listening.fileno()
    argv = (*_readside(), name, "--port", port, "--listening-socket", str(descriptor))
    return Program(name, argv, environment=_environment(name, settings, run), sockets=(descriptor,))


def _readside() -> tuple[str, ...]:
    # Spelled out, so that `pgrep -f 'readside projector'` finds it.
    script = Path(sys.executable).with_name("readside")
    return (sys.executable, str(script)) if script.exists() else (sys.executable, "-m", "readside")


def _environment(name: str, settings: Settings, run: Run) -> dict[str, str]:
    environment = dict(os.environ) | {
        "READSIDE_POSTGRES_URL": run.postgres_url,
        "READSIDE_MONGO_URL": run.mongo_url,
        "READSIDE_DATA_DIR": str(settings.data_dir),
        "READSIDE_LOG_FORMAT": _log_format(settings),
        "PYTHONUNBUFFERED": "1",
    }
    if run.payment_gateway_url is not None:
        environment["READSIDE_PAYMENT_GATEWAY_URL"] = run.payment_gateway_url
    if settings.jwt_secret is not None:
        environment["READSIDE_JWT_SECRET"] = settings.jwt_secret.get_secret_value()
    if name == "console":
        # It knows the APIs and nothing behind them, and asks them with the token of whoever signed in.
        for secret in ("READSIDE_POSTGRES_URL", "READSIDE_MONGO_URL", "READSIDE_JWT_SECRET"):
            environment[secret] = ""
        environment |= {f"READSIDE_{setting.upper()}": url for setting, url in run.api_urls.items()}
    if name == "query-api":
        # The read side lives without Postgres, and is not given the chance to do otherwise.
        environment["READSIDE_POSTGRES_URL"] = ""
    return environment


def _log_format(settings: Settings) -> str:
    if settings.log_format != "auto":
        return settings.log_format
    return "console" if sys.stderr.isatty() else "plain"
