"""What the how-to pages tell to do, as a program can do it.

A page says ``**`path`**, new:``, ``add …:`` or ``in the list …:`` before a block of code. A block to add may have
several pieces, with ``# …`` on a line of its own between them; they go to different places of the file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HOW_TO = ROOT / "docs" / "how-to"
FOLLOWED = ("add-a-context.md", "add-a-view.md")

_STEP = re.compile(r"\*\*`([^`]+)`\*\*, (new|add|in the list)[^*]*?:\n\n```\w+\n(.*?)\n```", re.DOTALL)
_WALK = re.compile(r"<!-- walk: begin.*?```bash\n(.*?)```\n<!-- walk: end", re.DOTALL)
_LIKE = re.compile(r"\[`(tests/[\w/]+\.py)`\]\(")


@dataclass(frozen=True)
class Step:
    """One block: what is to stand in which file."""

    path: str
    verb: str
    code: str

    @property
    def pieces(self) -> list[str]:
        """A new file whole; of an old one, what stands there together."""
        return [f"{self.code}\n"] if self.verb == "new" else re.split(r"\n\s*# …\n", self.code)


def steps(page: str) -> list[Step]:
    """Of a page, in its order."""
    return [Step(*found) for found in _STEP.findall((HOW_TO / page).read_text())]


def shown_files(page: str) -> list[str]:
    """Tests that a page points to, to be written alike."""
    return _LIKE.findall((HOW_TO / page).read_text())


def walk(page: str) -> str:
    """What the page has one type, to see it running."""
    [script] = _WALK.findall((HOW_TO / page).read_text())
    return str(script)
