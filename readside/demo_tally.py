"""What a lively day has come to so far, and how it is shown: a live table on a terminal, plain lines elsewhere."""

import sys
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from rich.live import Live
from rich.table import Table

SHOWN = ("placed", "paid", "declined", "canceled", "shipped", "delivered", "reviewed", "parked", "healed", "failed")
_KEPT = 500


class Tally:
    """Counts, and how long the latest orders took from the answer of their command to the view."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.latest_failure = ""
        self._visible: deque[float] = deque(maxlen=_KEPT)

    def saw(self, seconds: float) -> None:
        """An order was read back, with its token, after so long."""
        self._visible.append(seconds)

    def failed(self, reason: str) -> None:
        """A call was not answered as the script has it."""
        self.counts["failed"] += 1
        self.latest_failure = reason

    @property
    def p50_ms(self) -> float | None:
        """Commit to visible, the half of the latest; none while nothing was read back."""
        return 1000 * median(self._visible) if self._visible else None

    def line(self) -> str:
        """All of it in one line."""
        counts = ", ".join(f"{name} {self.counts[name]}" for name in SHOWN)
        visible = "" if self.p50_ms is None else f", visible after {self.p50_ms:.0f} ms (p50, over HTTP)"
        return counts + visible

    def table(self) -> Table:
        """All of it for a terminal."""
        table = Table(title="A lively shop; Ctrl-C ends it", min_width=44)
        table.add_column("what")
        table.add_column("how many", justify="right")
        for name in SHOWN:
            table.add_row(name, f"{self.counts[name]:,}")
        table.add_row("commit to visible, p50", "-" if self.p50_ms is None else f"{self.p50_ms:.0f} ms")
        return table


class Shown:
    """Where a tally is shown now."""

    def __init__(self, tally: Tally, live: Live | None) -> None:
        self._tally, self._live = tally, live

    def refresh(self) -> None:
        """As it is now."""
        if self._live is not None:
            self._live.update(self._tally.table())
        else:
            self.say(self._tally.line())

    def say(self, line: str) -> None:
        """Something that happened."""
        if self._live is not None:
            self._live.console.print(f"demo: {line}", highlight=False, markup=False)
        else:
            print(f"demo: {line}", file=sys.stderr, flush=True)  # noqa: T201 - the command's progress

    @property
    def every_seconds(self) -> float:
        """How often to refresh it."""
        return 0.25 if self._live is not None else 5.0


@contextmanager
def shown(tally: Tally) -> Iterator[Shown]:
    """On a terminal a table that lives as long as the block."""
    if not sys.stdout.isatty():
        yield Shown(tally, None)
        return
    with Live(tally.table(), transient=True) as live:
        yield Shown(tally, live)
