"""What is due by the clock: tokens that are good for nothing any more are forgotten."""

from command.members.storage import Verifications
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.reaction import Job, Ports
from runtime.clock import now


async def forget_expired_tokens(ports: Ports) -> None:
    """Used or not."""

    async def step(uow: UnitOfWork) -> None:
        await uow.repository(Verifications).forget(now())

    await ports.of(Steps).take(None, step)


jobs = (Job("forget expired verification tokens", every_seconds=3600.0, run=forget_expired_tokens),)
