"""What is logged is one line each, in one format, whoever logs it."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime.logs import configure_logs
from runtime.settings import Settings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Other tests log as if nothing had been configured."""
    root, configured = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.configure(**configured)
    structlog.contextvars.clear_contextvars()


def configured(**settings: Any) -> None:
    configure_logs(Settings(**settings), "tests")


def test_each_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_format="json")
    structlog.get_logger("one").info("two\nlines", odd="\ud800", other={1}, name="Zoë")
    logging.getLogger("somebody").warning("of %s", "theirs")

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [{name: line[name] for name in line if name != "timestamp"} for line in lines] == [
        {"message": "two\nlines", "level": "info", "process": "tests", "odd": "\ud800", "other": "{1}", "name": "Zoë"},
        {"message": "of theirs", "level": "warning", "process": "tests"},
    ]


def test_no_traceback_shows_what_variables_held(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("json", "plain"):
        configured(log_format=log_format)
        secret = "s3cret"
        try:
            raise ValueError(len(secret))
        except ValueError as error:
            structlog.get_logger(log_format).error("failed", exc_info=error)

        told = capsys.readouterr().err
        assert "ValueError" in told
        assert "s3cret" not in told


def test_what_is_below_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configured(log_format="plain", log_level="warning")
    structlog.get_logger("quiet").info("no")
    logging.getLogger("somebody").info("no")
    structlog.get_logger("quiet").warning("yes")

    assert [line.split()[2:5] for line in capsys.readouterr().err.splitlines()] == [["]", "yes", "process=tests"]]
