"""Keyset pages: one item more than asked for tells whether there is a next one."""

from collections.abc import Callable
from typing import Any

from runtime.cursors import Cursors, UnknownCursor
from runtime.problems import invalid_input


def after(cursor: str | None, cursors: Cursors) -> tuple[str, ...] | None:
    """The keys to go on after. Raises a `Problem` for a cursor that is not of this list."""
    if cursor is None:
        return None
    try:
        return cursors.read(cursor)
    except UnknownCursor:
        raise invalid_input((["query", "cursor"], "not a next_cursor of this list with these filters")) from None


def beyond(field: str, last: tuple[str, ...]) -> dict[str, Any]:
    """As a query: what comes after the item with this time and id, newest first by ``field``, then by id.

    Not the usual "$or: earlier, or as early with a smaller id": given an $or the planner may merge two scans and sort
    in memory. Bounds on the index, less what was shown of one moment, leave it no choice.
    """
    moment, item_id = last
    return {field: {"$lte": moment}, "$nor": [{field: moment, "_id": {"$gte": item_id}}]}


def page(items: list[dict[str, Any]], limit: int, cursor_of: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """The answer from up to ``limit + 1`` items."""
    shown = items[:limit]
    return {"items": shown, "next_cursor": cursor_of(shown[-1]) if len(items) > limit else None}
