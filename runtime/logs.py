"""Logs: readable on a terminal, one JSON object or one plain line per fact elsewhere.

``READSIDE_LOG_FORMAT`` picks ``console``, ``plain`` or ``json``; ``auto`` is ``console`` on a terminal, else ``json``.
Tokens, passwords and personal data are never logged: log ids.
"""

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from runtime import tracing
from runtime.settings import Settings


def configure_logs(settings: Settings, process: str) -> None:
    """Route structlog and the standard library's logging to standard error in one format."""
    chosen = settings.log_format
    if chosen == "auto":
        chosen = "console" if sys.stderr.isatty() else "json"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *([_in_its_trace] if tracing.is_on() else []),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: Processor
    if chosen == "json":
        shared.append(structlog.processors.EventRenamer("message"))
        # Without locals: they hold tokens, passwords and connection strings.
        shared.append(structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)))
        render = _json_line
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=chosen == "console", exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
    _route_the_standard_librarys(settings, shared, render)
    # Not through the standard library: its records, handlers and formatters cost a line three times what this does.
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


def _route_the_standard_librarys(settings: Settings, shared: list[Processor], render: Processor) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    logging.getLogger("runtime.access_log").disabled = not settings.access_log
    # Its lines hold paths, query strings and addresses; `runtime.access_log` says what may be said.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every call of an outside service, with its URL
    logging.getLogger("apscheduler").setLevel(logging.WARNING)


def _in_its_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    current = tracing.traceparent()
    if current is not None:
        event.setdefault("trace_id", current[3:35])
        event.setdefault("span_id", current[36:52])
    return event


def _json_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> str:
    try:
        return _encode(event).decode()
    except (TypeError, ValueError):
        # What somebody sent may be no text in any encoding: a lone surrogate.
        return json.dumps(event, default=repr)


_encode = msgspec.json.Encoder(enc_hook=repr).encode
