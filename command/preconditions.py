"""``If-Match`` of RFC 9110: a command that counts only on the version that its caller has seen."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.problems import Problem, invalid_input

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")
# Compared strongly, as RFC 9110 has it for If-Match: a weak tag names no version. A compressed answer's tag is strong.
_VERSION = re.compile(r'(W/)?"(?:([1-9][0-9]{0,17})(?:-gzip)?|[^"]*)"')


@dataclass(frozen=True, slots=True)
class Expected:
    """The versions that a caller is content with; ``versions`` of ``None`` is any that exists."""

    versions: frozenset[int] | None

    def includes(self, version: int) -> bool:
        """Whether the caller is content with this one."""
        return version > 0 if self.versions is None else version in self.versions


def expected_of(if_match: Sequence[str]) -> Expected | None:
    """What the header's values say, ``None`` without any. Raises a `Problem` where they are malformed."""
    if not if_match:
        return None
    value = ", ".join(if_match).strip(" \t")
    if value == "*":
        return Expected(None)
    if not _TAGS.fullmatch(value):
        raise _malformed()
    found = (match for match in _VERSION.finditer(value) if not match[1] and match[2])
    return Expected(frozenset(int(match[2]) for match in found))


def _malformed() -> Problem:
    return invalid_input((["header", "If-Match"], 'a version in quotes ("3"), several with commas, or * is needed'))
