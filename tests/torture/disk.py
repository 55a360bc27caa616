"""A small disk for MongoDB, that can be filled up: a tmpfs, which takes the right to mount."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SIZE_MIB = 900


class Disk:
    """The disk under MongoDB's data."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no room."""
        with suppress(OSError), self._filler.open("wb", buffering=0) as file:
            while file.write(bytes(1024 * 1024)):
                pass

    def free(self) -> None:
        """Leave as much room as before."""
        self._filler.unlink(missing_ok=True)


@contextmanager
def a_disk(folder: Path, *, wanted: bool) -> Iterator[Disk | None]:
    """A disk of its own at this folder, for the block; none where it is not wanted, or mounting not allowed."""
    if not wanted:
        yield None
        return
    mount = shutil.which("mount")
    folder.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={_SIZE_MIB}m,mode=0700", "torture", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        yield None
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)  # noqa: S607
