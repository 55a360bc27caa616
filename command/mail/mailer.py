"""The port of whoever has a letter to send."""

from command.mail.letter import Letter


class Mailer:
    """Sends mails. Never within a transaction: a mail server may take its time."""

    async def send(self, letter: Letter) -> None:
        """Comes back once somebody else is responsible for it. Raises `Undeliverable`, or what is worth a retry."""
        raise NotImplementedError
