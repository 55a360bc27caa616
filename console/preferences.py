"""Language and theme of a browser: two cookies that say nothing else."""

from typing import Literal
from urllib.parse import urlsplit

from fastapi import Request

from console.messages import language_of

Theme = Literal["auto", "light", "dark"]
THEMES: tuple[Theme, ...] = ("auto", "light", "dark")
LANGUAGE_COOKIE, THEME_COOKIE = "readside_language", "readside_theme"


def language(request: Request) -> str:
    """As chosen, or as the browser asks."""
    return language_of(request.headers.get("accept-language", ""), request.cookies.get(LANGUAGE_COOKIE))


def theme(request: Request) -> Theme:
    """As chosen; `auto` follows the system."""
    chosen = request.cookies.get(THEME_COOKIE)
    return next((one for one in THEMES if one == chosen), "auto")


def inside(path: str | None, otherwise: str = "/") -> str:
    """A path of the console to go on to; never another site."""
    given = path or ""
    parts = urlsplit(given)
    safe = given.startswith("/") and not given.startswith(("//", "/\\")) and not parts.netloc and given.isprintable()
    return given if safe else otherwise
