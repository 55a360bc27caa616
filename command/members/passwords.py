"""Passwords, kept with argon2id.

Hashing takes tens of milliseconds of a core and 64 MiB, on purpose. It runs in threads, off the event loop, and only
so many at once: otherwise a burst of sign-ups would take the machine down with it.
"""

import asyncio
import os

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_hasher = PasswordHasher()
_at_once = asyncio.Semaphore(max(1, (os.cpu_count() or 2) // 2))
# Checked when there is no member, so that an unknown e-mail address takes as long as a wrong password.
_hash_of_nobody = _hasher.hash(os.urandom(16))


async def hash_password(password: str) -> str:
    """The argon2id hash, with its salt and parameters in it."""
    async with _at_once:
        return await asyncio.to_thread(_hasher.hash, password)


async def password_fits(password: str, password_hash: str | None) -> bool:
    """Whether the password is right; takes as long when there is no hash to compare with."""
    async with _at_once:
        fits = await asyncio.to_thread(_verify, password_hash or _hash_of_nobody, password)
    return fits and password_hash is not None


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
