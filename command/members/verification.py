"""What proves that a member reads mail at their address: a random token, of which only the hash is kept.

A token has 256 bits of chance in it. So it is found by its hash with an ordinary look-up, which by its time tells
nothing of any other token, and the hash needs neither salt nor argon2: there is nothing to guess.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from command.mail import Letter

LIFETIME = timedelta(hours=24)
MOST_MAILS = 5
"""Within that time, to one member: whoever signs up with a stranger's address must not flood it."""

# What might be clicked on: with such a name a stranger's mail would be an advertisement, sent by this shop.
_LINK = re.compile(r"[:/@\\]|www\.|\.\w", re.IGNORECASE)
_LONGEST_GREETED = 60


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, and whom it is to be sent to."""

    token: str
    name: str
    email: str


def new_token() -> str:
    """Letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def is_nobodys(email: str) -> bool:
    """Whether the address is made up, as those of imports are: ``.invalid`` never belongs to anybody (RFC 2606)."""
    domain = email.rpartition("@")[2].rstrip(".").lower()
    return f".{domain}".endswith(".invalid")


def letter(issued: Issued, event_id: str, public_url: str | None) -> Letter:
    """The mail. Its text is plain: a mail program that shows no HTML, and a person without sight, read it too."""
    return Letter(
        name=event_id,
        to_name=issued.name,
        to_address=issued.email,
        subject="Confirm your e-mail address",
        text="\n".join(
            [
                f"{_greeting(issued.name)},",
                "",
                "somebody, we hope you, signed up with this address. To confirm that it is yours,",
                *_what_to_do(issued.token, public_url),
                "",
                "It works once, within 24 hours. If it was not you, there is nothing to do.",
                "",
            ]
        ),
    )


def _greeting(name: str) -> str:
    return "Hello" if _LINK.search(name) or len(name) > _LONGEST_GREETED else f"Hello {' '.join(name.split())}"


def _what_to_do(token: str, public_url: str | None) -> list[str]:
    if public_url is not None:
        # Behind #, which browsers keep to themselves: a token in a query ends in the logs of every proxy.
        return ["open this page:", "", f"    {public_url.rstrip('/')}/verify-email#token={token}"]
    return ["send this token to POST /members/verify-email:", "", f'    {{"token": "{token}"}}']
