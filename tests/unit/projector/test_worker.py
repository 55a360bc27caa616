"""The process of a rebuild's part: what its start costs is paid by each of them."""

import subprocess
import sys

_COSTLY = ("sqlalchemy", "fastapi", "starlette", "pyarrow")


def test_a_worker_imports_nothing_costly_that_it_does_not_use() -> None:
    program = f"import projector.worker, sys; print([one for one in {_COSTLY} if one in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
