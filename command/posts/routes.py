"""HTTP of the posts context."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from command.documented import command
from command.edge import Body, Customer, CustomerOrStaff, Id, Name, UseCases, neighbours
from command.partial import PartialBody, partial_example
from command.posts import service
from command.posts.model import Post
from command.posts.service import Neighbours
from runtime.openapi import example

router = APIRouter(prefix="/posts", tags=["posts"])

Words = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=5000, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
    ),
]
Rating = Annotated[int, Field(ge=1, le=5)]


class WritePost(Body):
    """A question, or a review with a `rating` from 1 to 5."""

    model_config = example(
        product_id="mug-blue", kind="review", title="Keeps warm", body="For an hour, with a saucer on top.", rating=4
    )

    product_id: Id
    kind: Literal["question", "review"]
    title: Name
    body: Words
    rating: Rating | None = None


class EditPost(PartialBody):
    """What changes; at least one."""

    model_config = partial_example(body="For an hour, with a saucer on top. For two with a lid.")

    title: Name | None = None
    body: Words | None = None
    rating: Rating | None = None


class PostAnswer(BaseModel):
    """The post after the command."""

    model_config = example(post_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764", version=1)

    post_id: str
    version: int


@router.post(
    "",
    response_model=PostAnswer,
    summary="Write about a product",
    **command(201, invalid="`unknown-product`, `rating-mismatch`", makes=True),
)
async def write_post(
    body: WritePost,
    caller: Customer,
    commands: UseCases,
    asked: Annotated[Neighbours, Depends(neighbours(Neighbours))],
) -> Response:
    """Ask a question or write a review; the names of product and author stay those of this moment."""
    return await commands.run(
        lambda uow: service.write_post(
            uow,
            asked,
            caller=caller,
            product_id=body.product_id,
            kind=body.kind,
            title=body.title,
            body=body.body,
            rating=body.rating,
        ),
        _answer,
        status=201,
        location="/posts/{id}",
    )


@router.patch(
    "/{post_id}",
    response_model=PostAnswer,
    summary="Edit one's post",
    **command(invalid="`rating-mismatch`", forbidden="`not-the-author`"),
)
async def edit_post(post_id: Id, body: EditPost, caller: Customer, commands: UseCases) -> Response:
    """Change title, body or rating of a post that the caller wrote; `403 not-the-author` for another's."""
    return await commands.run(
        lambda uow: service.edit_post(
            uow, post_id, caller=caller, title=body.title, body=body.body, rating=body.rating
        ),
        _answer,
    )


@router.delete(
    "/{post_id}", response_model=PostAnswer, summary="Delete a post", **command(forbidden="`not-the-author`")
)
async def delete_post(post_id: Id, caller: CustomerOrStaff, commands: UseCases) -> Response:
    """Delete one's own post, or as staff anybody's; after that it is `404 not-found` to everybody."""
    return await commands.run(lambda uow: service.delete_post(uow, post_id, caller=caller), _answer)


def _answer(post: Post) -> dict[str, Any]:
    return {"post_id": post.id, "version": post.version}
