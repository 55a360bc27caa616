"""Which methods a path takes, for 405's ``Allow``: RFC 9110 wants all of them, and where several routes share a path
the framework names only those of the first."""

from functools import lru_cache
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.routing import compile_path

from runtime.head import has_head

_Templates = tuple[tuple[Any, frozenset[str]], ...]


def allowed_methods(request: Request, named: str) -> str:
    """``named`` by the framework, and what the document has for this path besides."""
    methods = {method.strip() for method in named.split(",") if method.strip()}
    for pattern, documented in _templates(request.app):
        if pattern.match(request.url.path):
            methods |= documented
    if "GET" in methods and has_head(request.scope):
        methods.add("HEAD")
    return ", ".join(sorted(methods))


@lru_cache(maxsize=8)
def _templates(app: FastAPI) -> _Templates:
    return tuple(
        (compile_path(path)[0], frozenset(method.upper() for method in operations))
        for path, operations in app.openapi()["paths"].items()
    )
