"""Mails over SMTP. A password is never sent in the clear, whatever the server, or somebody in between, says."""

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import aiosmtplib

from command.mail.letter import Letter, Undeliverable, composed, recipient_of, sender_of
from command.mail.mailer import Mailer
from runtime.outside_http import OutsideError

TIMEOUT_SECONDS = 10.0
"""Of each step."""
_PATIENCE_SECONDS = 30.0
"""Of all of them: a server that answers a byte at a time never breaks the other limit."""
_PORTS = {"smtp": 587, "smtps": 465}
# RFC 3463: no such mailbox, host or domain, a bad address, a mailbox that is closed. What says 5.7.x (or nothing) may
# mean us, not the address: a relay that is denied to this shop is a letter that is to be tried again.
_NOBODY_THERE = ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1")


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where and how mail is handed over."""

    host: str
    port: int
    username: str | None
    password: str | None
    is_tls: bool

    @classmethod
    def of(cls, url: str) -> "SmtpServer":
        """Of ``smtp://user:password@host:587``, or ``smtps://…`` for TLS from the first byte."""
        parts = urlsplit(url)
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or _PORTS[parts.scheme],
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            is_tls=parts.scheme == "smtps",
        )

    @property
    def start_tls(self) -> bool | None:
        """Whether STARTTLS must be: no with TLS already, yes with a password; else where it is offered."""
        if self.is_tls:
            return False
        return True if self.username is not None else None


class SmtpMailer(Mailer):
    """One connection per mail: they are few, and a connection that is kept is one that may have died."""

    def __init__(self, url: str, sender: str, *, tls: ssl.SSLContext | None = None) -> None:
        self._server, self._sender, self._tls = SmtpServer.of(url), sender_of(sender), tls

    async def send(self, letter: Letter) -> None:
        """Raises `Undeliverable`, else whatever the connection or the server said."""
        message, server = composed(letter, self._sender), self._server
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await aiosmtplib.send(
                    message,
                    # Said here: nothing in a header can name another recipient.
                    sender=self._sender.addr_spec,
                    recipients=[recipient_of(message)],
                    hostname=server.host,
                    port=server.port,
                    username=server.username,
                    password=server.password,
                    use_tls=server.is_tls,
                    start_tls=server.start_tls,
                    tls_context=self._tls,
                    timeout=TIMEOUT_SECONDS,
                )
        except TimeoutError as error:
            raise OutsideError(f"the mail server did not answer in time ({type(error).__name__})") from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(one.message.startswith(_NOBODY_THERE) for one in error.recipients):
                raise Undeliverable from error
            raise
