"""The console's own style sheet."""

from hashlib import sha256
from pathlib import Path

FOLDER = Path(__file__).parent
VERSION = sha256((FOLDER / "console.css").read_bytes()).hexdigest()[:12]
"""Goes into its address: a browser may keep it for ever."""
