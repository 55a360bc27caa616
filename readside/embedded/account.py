"""Which user a PostgreSQL of ours runs as: it refuses to run as root, and no user is made for it.

Started by an ordinary user, everything runs as that user. Started by root (a container, a small server), it runs as
an unprivileged user that exists anyway. Where that user cannot pass the folders above the data directory or the
clone, a capability lets it through: opening those folders to everybody would be worse.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from readside.errors import StartError

_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


@dataclass(frozen=True, slots=True)
class Account:
    """A user to run as, with the arguments of setpriv that get there (none: stay who we are)."""

    uid: int
    gid: int
    setpriv: tuple[str, ...] = ()

    def own(self, path: Path) -> None:
        """Hand a file or folder over to this user."""
        if self.setpriv:
            os.chown(path, self.uid, self.gid)


def account_for(data: Path, *needed: Path) -> Account:
    """The user that owns ``data`` or shall own it, able to reach all ``needed`` paths."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    uid, gid = _unprivileged(data)
    setpriv: tuple[str, ...] = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    if not all(_reaches(path, uid, gid) for path in (data, *needed)):
        capability = _passing_capability()
        # access(2), by which initdb looks for postgres, heeds a capability only with this bit set.
        setpriv += (f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}", "--securebits=+no_setuid_fixup")
    return Account(uid, gid, setpriv)


def _unprivileged(data: Path) -> tuple[int, int]:
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise StartError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


def _reaches(path: Path, uid: int, gid: int) -> bool:
    return all(_may_pass(folder, uid, gid) for folder in path.resolve().parents)


def _may_pass(folder: Path, uid: int, gid: int) -> bool:
    found = folder.stat()
    if found.st_uid == uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _passing_capability() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    allowed = int(next(line.split()[1] for line in lines if line.startswith("CapBnd:")), 16)
    # Reading and passing is all that is needed; some containers grant only the wider one.
    if allowed & 1 << _CAP_DAC_READ_SEARCH:
        return "dac_read_search"
    if allowed & 1 << _CAP_DAC_OVERRIDE:
        return "dac_override"
    raise StartError("the user that PostgreSQL runs as cannot reach the data directory; give --data-dir elsewhere")
