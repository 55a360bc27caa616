"""Whoever signs up is asked to confirm their address, and again when they say that no mail came.

A mail that may not have gone out is sent again, with a token of its own; each of them is good until one is used.
"""

import structlog

from command.mail import Mailer, Undeliverable
from command.members import service, verification
from command.members.verification import Issued
from command.steps import Steps
from command.unit_of_work import UnitOfWork
from events.envelope import Envelope
from events.members import EmailVerificationRequested, MemberRegistered
from events.reaction import Ports, Reaction
from runtime.settings import Settings

log = structlog.get_logger()

verification_mail = Reaction("verification_mail")
reactions = (verification_mail,)


@verification_mail.on(MemberRegistered)
@verification_mail.on(EmailVerificationRequested)
async def send_mail(envelope: Envelope, ports: Ports) -> None:
    """A token in a transaction of its own, then the mail: the other way round a mail could hold a token of nobody's."""
    event = envelope.event
    assert isinstance(event, MemberRegistered | EmailVerificationRequested)
    if verification.is_nobodys(event.email):
        return

    async def step(uow: UnitOfWork) -> Issued | None:
        return await service.issue_verification(uow, envelope.aggregate_id, event_id=envelope.event_id)

    issued = await ports.of(Steps).take(envelope, step)
    if issued is None:
        return
    letter = verification.letter(issued, envelope.event_id, ports.of(Settings).public_url)
    try:
        await ports.of(Mailer).send(letter)
    except Undeliverable:
        # No dead letter: anybody can sign up with an address that does not exist, and nobody could settle it.
        log.warning("nobody can get mail at a member's address", member_id=envelope.aggregate_id)
