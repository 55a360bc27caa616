"""One log line per request: what was called and how it ended, and nothing that is anybody's business.

Of the path the route's template alone (``/orders/{order_id}``), of the query nothing, of headers the request id; no
address, no subject. Whose request it was, the events tell, which carry the request id as their correlation id.
"""

import logging

import structlog
from starlette.types import Scope

from runtime import tracing
from runtime.headers import request_id_of, traceparent_of

log = structlog.get_logger()

_ASKED_BY_MACHINES = frozenset({"/livez", "/readyz", "/metrics"})


_switch = logging.getLogger(__name__)


def is_logged(scope: Scope) -> bool:
    """Whether this request is to have its line."""
    return not _switch.disabled and scope["path"] not in _ASKED_BY_MACHINES


def log_request(scope: Scope, route: object, status: int, seconds: float) -> None:
    """The line of a request whose answer has ended; ``route`` is what it came to, if anything."""
    state = scope["state"]
    log.info(
        "request",
        **state.get("told", {}),
        **_trace_of(scope),
        method=scope["method"] if scope["method"] in _METHODS else "other",
        route=getattr(route, "path", "unknown"),
        status=status,
        ms=round(seconds * 1000, 1),
        request_id=request_id_of(scope),
    )


def _trace_of(scope: Scope) -> dict[str, str]:
    """The caller's trace, where no span of our own says it."""
    if not tracing.is_on():
        for name, value in scope["headers"]:
            if name == b"traceparent" and (parent := traceparent_of(value.decode("latin-1"))):
                return {"trace_id": parent[3:35]}
    return {}


# A method is a caller's own words too, where it is none of these.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
