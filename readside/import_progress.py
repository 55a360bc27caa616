"""What a person sees of a long run while it lasts, and how they stop it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 2.0


@contextmanager
def shown_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields what is to be told ``(done, of)``: a bar on a terminal, a line every two seconds elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what)
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


@contextmanager
def interruption() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM become a question that the run asks itself where it can stop."""
    heard: list[int] = []
    previous = {
        number: signal.signal(number, lambda received, _frame: heard.append(received))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _lines(what: str) -> Callable[[int, int], None]:
    said_at = time.monotonic()

    def say(done: int, of: int) -> None:
        nonlocal said_at
        if time.monotonic() - said_at >= _SECONDS_BETWEEN_LINES:
            said_at = time.monotonic()
            typer.echo(f"{what}: {done:,} of {of:,}", err=True)

    return say
