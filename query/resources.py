"""What is served: found by itself, so that no list can lack it.

A resource is a module of this room with a ``router`` in it. They are taken in the order of their names; no two of them
may claim the same path.
"""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from fastapi import APIRouter

import query


def routers() -> Iterator[APIRouter]:
    """Of every resource."""
    # The application is no resource; it is what asks.
    names = sorted(found.name for found in pkgutil.iter_modules(query.__path__) if found.name != "app")
    for module in (import_module(f"query.{name}") for name in names):
        if isinstance(router := getattr(module, "router", None), APIRouter):
            yield router
