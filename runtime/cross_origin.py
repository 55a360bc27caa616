"""Cross-origin requests: none, unless the settings name the pages that may make them.

Tokens travel in a header that a script sets itself, never in a cookie: credentials are not allowed along.
"""

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

_READABLE = (
    "Consistency-Token",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "Read-Model-Lag-Seconds",
    "Read-Model-Position",
    "Read-Model-State",
    "Retry-After",
    "X-Request-Id",
)


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let scripts of these pages call this app, and read what its answers say."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
        allow_headers=[
            "Authorization",
            "Consistency-Token",
            "Content-Type",
            "Idempotency-Key",
            "If-Match",
            "If-None-Match",
            "Last-Event-ID",
            "Prefer",
            "X-Request-Id",
            "traceparent",
        ],
        expose_headers=list(_READABLE),
        max_age=600,
    )
