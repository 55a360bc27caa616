"""One log line per request: what was called and how it ended, and nothing that is anybody's business.

Of the path the route's template alone (``/orders/{order_id}``), of the query nothing, of headers the request id; no
address, no subject. Whose request it was, the events tell, which carry the request id as their correlation id.
"""

import logging

import structlog
from starlette.types import Scope

from runtime.headers import request_id_of

log = structlog.get_logger()

_ASKED_BY_MACHINES = frozenset({"/livez", "/readyz", "/metrics"})


_switch = logging.getLogger(__name__)


def is_logged(scope: Scope) -> bool:
    """Whether this request is to have its line."""
    return not _switch.disabled and scope["path"] not in _ASKED_BY_MACHINES


def log_request(scope: Scope, route: object, status: int, seconds: float) -> None:
    """The line of a request whose answer has ended; ``route`` is what it came to, if anything."""
    log.info(
        "request",
        method=scope["method"] if scope["method"] in _METHODS else "other",
        route=getattr(route, "path", "unknown"),
        status=status,
        ms=round(seconds * 1000, 1),
        request_id=request_id_of(scope),
    )


# A method is a caller's own words too, where it is none of these.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
