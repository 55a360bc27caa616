"""What a run tells: a line per fault as it happens, and a summary."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.torture.ledger import Ledger


@dataclass(slots=True)
class Report:
    """Collects while a run goes on. ``say`` takes each line at once."""

    seed: int
    say: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)
    done: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    recovered: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    events: int = 0

    def line(self, text: str) -> None:
        """One line, with the time since the beginning."""
        self.say(f"[{time.monotonic() - self.started:6.1f} s] {text}")

    def fault(self, names: tuple[str, ...], lasted: float, recovered: float) -> None:
        """These were done together, lasted so many seconds, and took so many to get over."""
        for name in names:
            self.done[name] += 1
            self.recovered[name].append(recovered)
        self.line(f"{' + '.join(names)}: {lasted:.1f} s, everything visible again {recovered:.2f} s later")

    def skip(self, name: str, reason: str) -> None:
        """This fault cannot be had here."""
        if name not in self.skipped:
            self.skipped[name] = reason
            self.line(f"{name}: skipped, {reason}")

    def summary(self, ledger: Ledger) -> str:
        """The whole run on one page."""
        lines = [
            f"seed {self.seed}: {len(ledger.acknowledged)} commands acknowledged, {len(ledger.undecided)} undecided, "
            f"{self.events} events, {sum(self.done.values())} faults",
            "",
            f"{'fault':<36}{'times':>6}{'longest recovery':>18}",
        ]
        lines += [
            f"{name:<36}{times:>6}{max(self.recovered[name]):>16.2f} s" for name, times in sorted(self.done.items())
        ]
        lines += [f"{name:<36}  none: {reason}" for name, reason in self.skipped.items()]
        lines += ["", "answers: " + ", ".join(f"{what} × {count}" for what, count in sorted(ledger.answers.items()))]
        lines += ["", *(f"WRONG: {what}" for what in self.wrong)]
        lines.append(f"{len(self.wrong)} wrong" if self.wrong else "nothing wrong")
        return "\n".join(lines)
