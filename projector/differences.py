"""What a stored document and the one that its events make differ in, field by field.

Strict where Python is not: ``1``, ``1.0`` and ``True`` are three values to a reader of JSON. The order of fields means
nothing. A counter that is absent is 0, as it is to every reader of statistics.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

from views.kit import AdditiveView, View

Json = dict[str, Any]
_LONGEST_VALUE = 60
_MOST_FIELDS = 8


class FieldDifference(msgspec.Struct, frozen=True):
    """One field: what stands there, and what should. `msgspec.UNSET` where there is no such field."""

    path: str
    found: Any
    expected: Any


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One document that is not what its events make. ``extra``: no event made it."""

    key: Any
    kind: Literal["missing", "extra", "different"]
    fields: tuple[FieldDifference, ...] = ()

    @property
    def paths(self) -> list[str]:
        """The names of the fields that differ; no values, which may be anybody's address."""
        return [field.path for field in self.fields]

    def lines(self) -> list[str]:
        """For a person: the document, then its fields, shortened."""
        lines = [f"{self.kind:<9} {self.key}"]
        lines += [
            f"  {field.path}: {shortened(field.found)} instead of {shortened(field.expected)}"
            for field in self.fields[:_MOST_FIELDS]
        ]
        if len(self.fields) > _MOST_FIELDS:
            lines.append(f"  … and {len(self.fields) - _MOST_FIELDS} more fields")
        return lines


def difference(view: View, key: Any, found: Json | None, expected: Json | None) -> Difference | None:
    """What is wrong with a document; ``None`` where nothing is."""
    if found is None or expected is None:
        if found is None and expected is None:
            return None
        return Difference(key=key, kind="missing" if found is None else "extra")
    if isinstance(view, AdditiveView):
        found, expected = _counted(found), _counted(expected)
    fields = tuple(_differing(found, expected, ""))
    return Difference(key=key, kind="different", fields=fields) if fields else None


def shortened(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    if value is msgspec.UNSET:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def _counted(document: Json) -> Json:
    return {field: value for field, value in document.items() if not (_kind(value) is int and value == 0)}


def _differing(found: Any, expected: Any, path: str) -> Iterator[FieldDifference]:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        inside = f"{path}." if path else ""
        for name in (*expected, *(name for name in found if name not in expected)):
            yield from _differing(found.get(name, msgspec.UNSET), expected.get(name, msgspec.UNSET), f"{inside}{name}")
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _differing(one, other, f"{path}[{number}]")
    elif _kind(found) is not _kind(expected) or found != expected:
        yield FieldDifference(path, found, expected)


def _kind(value: Any) -> type:
    # MongoDB's 64-bit integers are a subclass of int, and so is bool.
    return int if isinstance(value, int) and not isinstance(value, bool) else type(value)
