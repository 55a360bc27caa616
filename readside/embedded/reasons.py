"""Why a database did not start, where its own words need a translation."""

import re
import signal

_PACKAGE_OF_LIBRARY = {
    "libcurl": "libcurl4",
    "libssl": "libssl3",
    "libcrypto": "libssl3",
    "liblzma": "liblzma5",
    "libresolv": "libc6",
    "libz": "zlib1g",
}


def why(status: int, last_lines: str) -> str | None:
    """One sentence, or none where the last lines speak for themselves."""
    if found := re.search(r"error while loading shared libraries: (lib\w+)([\w.-]*):", last_lines):
        library = "".join(found.groups())
        package = _PACKAGE_OF_LIBRARY.get(found[1])
        return f"it needs {library}" + (f" (apt-get install {package})" if package else "")
    if status == -signal.SIGILL:
        return "this processor lacks AVX, which MongoDB needs; set READSIDE_MONGO_URL"
    return None
