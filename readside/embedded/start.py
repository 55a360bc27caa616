"""Starting the embedded databases, side by side."""

from collections.abc import Sequence
from typing import Protocol

from readside.programs import Program
from readside.supervisor import Supervisor
from readside.together import together


class Embedded(Protocol):
    """A database of ours."""

    async def prepare(self) -> Program:
        """Make at the first start what it needs. Returns what to keep running."""

    async def wait_until_ready(self) -> None:
        """Returns once it can be used."""


async def start(supervisor: Supervisor, databases: Sequence[Embedded]) -> None:
    """Start them as one phase. Raises `StartError`, with the last lines of its log, for one that cannot start."""
    supervisor.begin_phase()
    await together(*(_start(supervisor, database) for database in databases))


async def _start(supervisor: Supervisor, database: Embedded) -> None:
    program = await database.prepare()
    await supervisor.start(program).until_ready(database.wait_until_ready())
