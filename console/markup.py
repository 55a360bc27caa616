"""HTML of what pages show: everything that comes from elsewhere is escaped here, once."""

from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import quote, urlencode


class Safe(str):
    """HTML that is ready; any other text is escaped."""


def text(value: object) -> Safe:
    """Escaped, unless it is HTML already."""
    return value if isinstance(value, Safe) else Safe(escape("" if value is None else str(value)))


def tag(element: str, /, *children: object, **attributes: object) -> Safe:
    """An element; ``class_`` stands for ``class``, ``_`` for ``-``, ``True`` for an attribute without value."""
    told = ""
    for attribute, value in attributes.items():
        if value is None or value is False:
            continue
        told += " " + attribute.strip("_").replace("_", "-") + ("" if value is True else f'="{escape(str(value))}"')
    if element in ("input", "br"):
        return Safe(f"<{element}{told}>")
    return Safe(f"<{element}{told}>{''.join(text(child) for child in children)}</{element}>")


def link(label: object, path: str, parameters: dict[str, object] | None = None, **attributes: object) -> Safe:
    """A link inside of the console."""
    asked = {name: value for name, value in (parameters or {}).items() if value not in (None, "")}
    href = quote(path, safe="/") + (f"?{urlencode(asked)}" if asked else "")
    return tag("a", label, href=href, **attributes)


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[object]], numeric: Sequence[int] = ()) -> Safe:
    """A table that becomes cards where the screen is narrow: each cell knows its heading.

    ``numeric``: columns aligned to the right. The first cell of a row is its heading.
    """

    def cell(column: int, value: object) -> Safe:
        more = {"class_": "n" if column in numeric else None, "data_label": headings[column]}
        return tag("th", value, scope="row", **more) if column == 0 else tag("td", value, **more)

    head = tag(
        "tr", *(tag("th", one, scope="col", class_="n" if at in numeric else None) for at, one in enumerate(headings))
    )
    body = [tag("tr", *(cell(at, value) for at, value in enumerate(row))) for row in rows]
    shown = tag("table", tag("caption", caption, class_="sr"), tag("thead", head), tag("tbody", *body))
    return tag("div", shown, class_="scroll")


def field(label: str, name: str, value: str | None = "", kind: str = "text", **more: object) -> Safe:
    """An input of a form with its label."""
    return tag("label", tag("span", label), tag("input", name=name, type=kind, value=value or "", **more))


def choice(label: str, name: str, options: Iterable[tuple[str, str]], chosen: str | None) -> Safe:
    """A list to choose from; pairs of value and label."""
    shown = (tag("option", told, value=value, selected=value == (chosen or "")) for value, told in options)
    return tag("label", tag("span", label), tag("select", *shown, name=name))


def badge(label: str, kind: str) -> Safe:
    """A state as a word in its colour."""
    return tag("span", label, class_=f"badge {kind}")
