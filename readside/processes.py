"""The processes of Readside as `readside up` starts them: each is the command that a person would type."""

import os
import sys
from pathlib import Path

from readside.programs import Program
from readside.run_file import Run
from runtime.settings import Settings


def program(name: str, port: int, settings: Settings, run: Run) -> Program:
    """One process, told about the stores through its environment."""
    return Program(name, (*_readside(), name, "--port", str(port)), environment=_environment(name, settings, run))


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
    if settings.jwt_secret is not None:
        environment["READSIDE_JWT_SECRET"] = settings.jwt_secret.get_secret_value()
    if name == "query-api":
        # The read side lives without Postgres, and is not given the chance to do otherwise.
        environment["READSIDE_POSTGRES_URL"] = ""
    return environment


def _log_format(settings: Settings) -> str:
    if settings.log_format != "auto":
        return settings.log_format
    return "console" if sys.stderr.isatty() else "plain"
