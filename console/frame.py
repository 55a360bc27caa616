"""What is around every page: head, menu, who is signed in, display preferences."""

from typing import Any

from console import scopes
from console.markup import Safe, choice, link, tag
from console.messages import LANGUAGES, say
from console.preferences import THEMES
from console.sessions import Session

PATHS = {
    "sales": "/sales",
    "orders": "/orders",
    "projections": "/projections",
    "letters": "/dead-letters",
    "events": "/events",
}


def head(theme: str) -> Safe:
    """Style, and the theme before anything is painted."""
    from console.static import VERSION

    return Safe(
        f'<link rel="stylesheet" href="/static/console.css?{VERSION}">'
        f'<script>document.documentElement.dataset.theme="{theme}"</script>'
    )


def top(language: str, theme: str, here: str, session: Session | None, path: str) -> Safe:
    """The bar on top; ``here`` is the page, ``path`` where to come back to."""

    def t(key: str, **facts: Any) -> str:
        return say(language, key, **facts)

    items = [
        tag("li", link(t(page), PATHS[page], aria_current="page" if page == here else None))
        for page in (scopes.pages(session) if session else [])
    ]
    who: tuple[Safe, ...] = ()
    if session is not None:
        who = (
            tag("span", session.name[:60], class_="who", title=" ".join(sorted(session.scopes))),
            tag("form", tag("button", t("sign_out"), class_="quiet"), method="post", action="/sign-out"),
        )
    return Safe(
        tag("a", t("skip"), href="#content", class_="skip")
        + tag(
            "header",
            tag("a", tag("span", "R", aria_hidden="true", class_="mark"), "Readside", href="/", class_="brand"),
            tag("nav", tag("ul", *items), aria_label=t("menu")) if items else "",
            tag("div", *who, _preferences(language, theme, path), class_="right"),
            class_="top",
        )
    )


def _preferences(language: str, theme: str, path: str) -> Safe:
    themes = [(one, say(language, f"theme.{one}")) for one in THEMES]
    form = tag(
        "form",
        choice(say(language, "language"), "language", LANGUAGES.items(), language),
        choice(say(language, "theme"), "theme", themes, theme),
        tag("input", type="hidden", name="next", value=path),
        tag("button", say(language, "save")),
        method="post",
        action="/preferences",
    )
    return tag("details", tag("summary", say(language, "preferences")), form, class_="menu")
