"""Mails as files, for everybody who has no mail server: one ``.eml`` each, which any mail program opens."""

import asyncio
import os
from pathlib import Path

from command.mail.letter import Letter, as_bytes, composed, sender_of
from command.mail.mailer import Mailer
from events.reaction import NotNow


class FileMailer(Mailer):
    """Writes into one folder. A file is there whole or not at all, and a repeat replaces it."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder, self._sender = folder, sender_of(sender)

    async def send(self, letter: Letter) -> None:
        """Raises `NotNow` while the disk cannot take it, `Undeliverable`."""
        message = as_bytes(composed(letter, self._sender))
        try:
            await asyncio.to_thread(self._write, f"{letter.name}.eml", message)
        except OSError as error:
            raise NotNow(f"{self._folder}: {error.strerror or error}") from error

    def _write(self, name: str, message: bytes) -> None:
        # Mails hold addresses, and tokens that are good for something: for the owner alone.
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = self._folder / f".{name}.{os.getpid()}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(message)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._folder / name)
        _sync(self._folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
