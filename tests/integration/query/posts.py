"""Posts as the projector would have written them."""

from typing import Any

from events.posts import Author
from tests.integration.query.shop import PLACED_AT
from views.posts import PostDocument


def a_post(post_id: str = "post-1", member_id: str = "ann", **fields: Any) -> PostDocument:
    """A review of the pen, written at 9 o'clock."""
    values: dict[str, Any] = {
        "product_id": "p-1",
        "product_name": "Pen",
        "author": Author(member_id, "Ann"),
        "kind": "review",
        "title": "Writes",
        "body": "And writes.",
        "rating": 5,
        "version": 1,
        "written_at": PLACED_AT,
    }
    return PostDocument(id=post_id, **{**values, **fields})
