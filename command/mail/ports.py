"""How mails leave: by SMTP where the settings name a server, else as files in the data directory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from command.mail.files import FileMailer
from command.mail.mailer import Mailer
from command.mail.smtp import SmtpMailer
from runtime.settings import Settings


@asynccontextmanager
async def ports(settings: Settings) -> AsyncIterator[dict[type[Any], Any]]:
    """For as long as the block runs."""
    yield {Mailer: mailer(settings)}


def mailer(settings: Settings) -> Mailer:
    """The one that the settings ask for."""
    if settings.smtp_url is None:
        return FileMailer(settings.data_dir / "mail", settings.mail_from)
    return SmtpMailer(settings.smtp_url, settings.mail_from)
