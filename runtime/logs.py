"""Logs: readable on a terminal, one JSON object or one plain line per fact elsewhere.

``READSIDE_LOG_FORMAT`` picks ``console``, ``plain`` or ``json``; ``auto`` is ``console`` on a terminal, else ``json``.
Tokens, passwords and personal data are never logged: log ids.
"""

import logging
import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer

from runtime.settings import Settings


def configure_logs(settings: Settings, process: str) -> None:
    """Route structlog and the standard library's logging to standard error in one format."""
    chosen = settings.log_format
    if chosen == "auto":
        chosen = "console" if sys.stderr.isatty() else "json"
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: structlog.typing.Processor
    if chosen == "json":
        shared.append(structlog.processors.EventRenamer("message"))
        # Without locals: they hold tokens, passwords and connection strings.
        shared.append(structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)))
        render = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(
            colors=chosen == "console", exception_formatter=structlog.dev.plain_traceback, pad_event_to=0
        )
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
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
