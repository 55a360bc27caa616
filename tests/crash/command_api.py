"""`readside command-api` as a process that kills itself between a command's commit and its answer.

``python -m tests.crash.command_api NTH PORT``: at the nth commit of a unit of work.
"""

import sys

from sqlalchemy.ext.asyncio import AsyncConnection

from tests.crash.runner import Death


def main(nth: str, port: str) -> None:
    """Serve until death."""
    death = Death(int(nth))
    commit = AsyncConnection.commit

    async def dying(self: AsyncConnection) -> None:
        await commit(self)
        death.here()

    AsyncConnection.commit = dying  # type: ignore[method-assign]
    from readside.servers import command_api

    command_api(port=int(port))


if __name__ == "__main__":
    main(*sys.argv[1:])
