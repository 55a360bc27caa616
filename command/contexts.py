"""Which bounded contexts there are, and what each brings: found by itself, so that no list can lack one.

A context is a folder of `command`. It may bring ``routes`` (HTTP), ``handlers`` (what it does in the transactions of
others), ``reactions`` (what it does outside, from the log), ``jobs`` (what is due by the clock) and ``ports`` (what its
reactions and jobs work with). One that only tells others what happened has no aggregate, and so no ``model``. They are
taken in the order of their names; so before-commit handlers of one event run in that order too, and those of one
context in the order in which it enters them.
"""

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import command


@cache
def names() -> tuple[str, ...]:
    """The contexts, by name, and whatever else has a folder: it brings nothing."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(command.__path__) if found.ispkg))


def brought(what: str) -> Iterator[ModuleType]:
    """The modules of this name, of those contexts that have one."""
    for name in names():
        if find_spec(f"command.{name}.{what}"):
            yield import_module(f"command.{name}.{what}")
