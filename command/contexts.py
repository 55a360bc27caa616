"""Which bounded contexts there are, and what each brings: found by itself, so that no list can lack one.

A context is a folder of `command`. It may bring ``routes`` (HTTP), ``handlers`` (what it does in the transactions of
others), ``reactions`` (what it does outside, from the log), ``jobs`` (what is due by the clock) and ``ports`` (what its
reactions and jobs work with). One that only tells others what happened has no aggregate, and so no ``model``. They are
taken in the order of their names; so before-commit handlers of one event run in that order too, and those of one
context in the order in which it enters them.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

_ROOM = Path(__file__).parent


@cache
def names() -> tuple[str, ...]:
    """The contexts, by name, and whatever else has a folder: it brings nothing."""
    return tuple(sorted(file.parent.name for file in _ROOM.glob("*/__init__.py")))


def brought(what: str) -> Iterator[ModuleType]:
    """The modules of this name, of those contexts that have one."""
    for name in names():
        # Looked for as a file: asking the import system would import the folder first, Alembic with the migrations.
        if (_ROOM / name / f"{what}.py").exists():
            yield import_module(f"command.{name}.{what}")
