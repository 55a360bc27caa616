"""A letter, and the RFC 5322 message that becomes of it.

Names and addresses were typed in by strangers. None of them can add a header or a recipient: a name is brought onto one
line and encoded, an address is quoted where it must be, and one whose domain is no host name reaches nobody.
"""

import re
import unicodedata
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr

from runtime.clock import now
from runtime.errors import SettingsError

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)
_LONGEST_NAME = 100


class Undeliverable(Exception):
    """Nobody can ever get mail at this address: trying again would not help."""


@dataclass(frozen=True, slots=True)
class Letter:
    """``name`` is unique to the mail and the same in each attempt: the id of the event that it answers."""

    name: str
    to_name: str
    to_address: str
    subject: str
    text: str


def composed(letter: Letter, sender: Address) -> EmailMessage:
    """The message. Raises `Undeliverable`."""
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = _address(_one_line(letter.to_name)[:_LONGEST_NAME], letter.to_address)
    message["Subject"] = _one_line(letter.subject)
    message["Date"] = format_datetime(now())
    message["Message-ID"] = f"<{letter.name}@{sender.domain}>"
    # RFC 3834: holiday notices are not sent in answer.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text, charset="utf-8")
    return message


def as_bytes(message: EmailMessage) -> bytes:
    """As it stands in a file. Only an address that is not ASCII needs headers that are not (RFC 6532)."""
    return message.as_bytes(policy=SMTP if recipient_of(message).isascii() else SMTPUTF8)


def recipient_of(message: EmailMessage) -> str:
    """The address alone."""
    address: str = message["To"].addresses[0].addr_spec
    return address


def sender_of(mail_from: str) -> Address:
    """Of ``Shop <shop@example.com>``. Raises `SettingsError`: a shop's own mistake must not look like a stranger's."""
    name, address = parseaddr(mail_from)
    try:
        return _address(name, address)
    except Undeliverable:
        raise SettingsError(f"READSIDE_MAIL_FROM: {mail_from!r} is no address such as shop@example.com") from None


def _address(name: str, address: str) -> Address:
    user, _, domain = address.rpartition("@")
    try:
        host = domain.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not user or not _HOST.fullmatch(host):
        raise Undeliverable
    # By its parts: a parser would take a comma or a bracket in it for the beginning of something else.
    return Address(name, user, host)


def _one_line(text: str) -> str:
    """Without control characters; line breaks of every kind become spaces."""
    visible = "".join(character for character in " ".join(text.split()) if unicodedata.category(character) != "Cc")
    return visible.strip()
