"""The one log of `readside up`: every line of every child, prefixed with who said it."""

import sys
from typing import TextIO

_WIDTH = len("command-api")
_COLOUR_OF = {
    "command-api": 36,
    "query-api": 32,
    "projector": 35,
    "payment-simulator": 31,
    "postgres": 34,
    "mongod": 33,
    "up": 1,
}


class PrefixedLog:
    """Writes ``projector    | line`` to standard error, in colours on a terminal only."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._colours = self._stream.isatty()

    def __call__(self, name: str, line: str) -> None:
        """Write one line."""
        prefix = f"{name:<{_WIDTH}}"
        if self._colours:
            prefix = f"\x1b[{_COLOUR_OF.get(name, 0)}m{prefix}\x1b[0m"
        self._stream.write(f"{prefix} | {line}\n")
        self._stream.flush()
