"""Use cases of the posts context.

What it needs of other contexts stands in `Neighbours`, as functions; `command.bootstrap` fills them in.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from command.errors import InvalidCommand
from command.posts.model import NotTheAuthor, Post
from command.posts.storage import Posts
from command.unit_of_work import UnitOfWork
from events.posts import Author, Kind
from runtime.clock import now
from runtime.ids import new_id
from runtime.tokens import Caller


class UnknownProduct(InvalidCommand):
    """No such product: {product_id}."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """What other contexts answer: the names of a product and of a member (``None``: not one of ours)."""

    product_name: Callable[[UnitOfWork, str], Awaitable[str | None]]
    member_name: Callable[[UnitOfWork, str], Awaitable[str | None]]


async def write_post(
    uow: UnitOfWork,
    neighbours: Neighbours,
    *,
    caller: Caller,
    product_id: str,
    kind: Kind,
    title: str,
    body: str,
    rating: int | None,
) -> Post:
    """Write about a product. Raises `UnknownProduct`, `RatingMismatch`."""
    product_name = await neighbours.product_name(uow, product_id)
    if product_name is None:
        raise UnknownProduct(product_id=product_id)
    name = await neighbours.member_name(uow, caller.subject)
    post = Post.write(
        new_id(),
        product_id=product_id,
        product_name=product_name,
        author=Author(caller.subject, name or caller.name or caller.subject),
        kind=kind,
        title=title,
        body=body,
        rating=rating,
        at=now(),
    )
    uow.repository(Posts).add(post)
    return post


async def edit_post(
    uow: UnitOfWork,
    post_id: str,
    *,
    caller: Caller,
    title: str | None = None,
    body: str | None = None,
    rating: int | None = None,
) -> Post:
    """Put one's own post in other words. Raises `NotFound`, `NotTheAuthor`, `StaleVersion`, `RatingMismatch`."""
    post = await uow.repository(Posts).get(post_id)
    if post.member_id != caller.subject:
        raise NotTheAuthor
    uow.as_expected(post).edit(title=title, body=body, rating=rating, at=now())
    return post


async def delete_post(uow: UnitOfWork, post_id: str, *, caller: Caller) -> Post:
    """Take one's own post out of sight, or as staff anybody's. Raises `NotFound`, `NotTheAuthor`, `StaleVersion`."""
    post = await uow.repository(Posts).get(post_id)
    if post.member_id != caller.subject and not caller.has("staff"):
        raise NotTheAuthor
    uow.as_expected(post).delete(by=caller.subject, at=now())
    return post
