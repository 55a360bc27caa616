"""HTTP of the members context."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from fastapi.security import OAuth2PasswordRequestForm
from pydantic import BaseModel, StringConstraints
from starlette.responses import Response

from command.documented import command
from command.edge import Body, Customer, Name, UseCases
from command.members import service
from command.members.model import Member, WrongPassword, normalized_email
from command.members.passwords import hash_password, password_fits
from command.members.throttle import Throttle, throttle_of
from command.unit_of_work import UnitOfWork
from runtime.http import JsonResponse
from runtime.openapi import example, problems
from runtime.problems import Problem
from runtime.tokens import Tokens

router = APIRouter(tags=["members"])

Limits = Annotated[Throttle, Depends(throttle_of)]

Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f]+@[^@\s\x00-\x1f\x7f]+$"),
]
# Any characters, but not endless: argon2 reads all of it.
Password = Annotated[str, StringConstraints(min_length=8, max_length=256)]


class RegisterMember(Body):
    """Who signs up."""

    model_config = example(email="ann@example.com", name="Ann", password="correct horse battery")

    email: Email
    name: Name
    password: Password


class ChangePassword(Body):
    """The old password and the new."""

    model_config = example(current_password="correct horse battery", new_password="a battery of staples")

    current_password: Annotated[str, StringConstraints(max_length=256)]
    new_password: Password


class RenameMember(Body):
    """The new name."""

    model_config = example(name="Ann Archer")

    name: Name


class VerifyEmail(Body):
    """What the mail held."""

    model_config = example(token="dGhlIHRva2VuIG9mIHRoZSBtYWlsIHRoYXQgd2FzIHNlbnQ")

    token: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]


class MemberAnswer(BaseModel):
    """The member after the command."""

    model_config = example(member_id="01a1fd9a-0f1b-7755-bf54-6e41f8a8e764", version=1)

    member_id: str
    version: int


class TokenAnswer(BaseModel):
    """A bearer token, as OAuth 2 answers it."""

    model_config = example(access_token="eyJhbGciOi…", token_type="bearer", expires_in=3600, scope="customer")

    access_token: str
    token_type: str
    expires_in: int
    scope: str


@router.post(
    "/members",
    response_model=MemberAnswer,
    summary="Sign up",
    **command(201, rules="`email-taken`", makes=True, token=False, limited=True),
)
async def register_member(body: RegisterMember, request: Request, commands: UseCases, throttle: Limits) -> Response:
    """Register a member; `409 email-taken` where the address belongs to one."""
    throttle.sign_up(request)

    async def prepare() -> Callable[[UnitOfWork], Awaitable[Member]]:
        password_hash = await hash_password(body.password)
        return lambda uow: service.register_member(uow, email=body.email, name=body.name, password_hash=password_hash)

    return await commands.run_prepared(
        prepare,
        _answer,
        status=201,
        location="/members/{id}",
    )


class WrongGrant(BaseModel):
    """E-mail address or password is wrong; which one is not told."""

    model_config = example(error="invalid_grant")

    error: Literal["invalid_grant"]


async def _is_form(request: Request) -> None:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in ("application/x-www-form-urlencoded", "multipart/form-data", ""):
        raise Problem(415, "unsupported-media-type", "Send application/x-www-form-urlencoded.")


@router.post(
    "/token",
    response_model=TokenAnswer,
    summary="Sign in",
    responses={
        400: {"description": "Wrong: `invalid_grant`, as OAuth 2 has it", "model": WrongGrant},
        **problems(
            {
                413: "`body-too-large`: over 1 MiB",
                415: "`unsupported-media-type`: no form",
                422: "`invalid-input`: see `errors`",
                429: "`too-many-requests`: see `Retry-After`",
                503: "`unavailable`: see `Retry-After`",
            }
        ),
    },
)
async def token(
    request: Request,
    _: Annotated[None, Depends(_is_form)],
    form: Annotated[OAuth2PasswordRequestForm, Depends()],
    commands: UseCases,
    throttle: Limits,
) -> Response:
    """OAuth 2 password grant: `username` is the e-mail address. Wrong: 400 `{"error": "invalid_grant"}`."""
    throttle.sign_in(request)
    async with throttle.password_check(request, normalized_email(form.username)) as attempt:
        async with commands.begin() as uow:
            member = await service.member_with(uow, email=form.username)
        # Without a connection: a burst of sign-ins would otherwise take them all while it waits for argon2.
        fits = await password_fits(form.password, member.password_hash if member else None)
        if member is not None and fits:
            attempt.succeeded()
    no_store = {"Cache-Control": "no-store"}
    if member is None or not fits:
        return JsonResponse({"error": "invalid_grant"}, 400, no_store)
    tokens: Tokens = request.app.state.tokens
    answer = {
        "access_token": tokens.issue(member.id, ["customer"], name=member.name),
        "token_type": "bearer",
        "expires_in": tokens.lifetime_seconds,
        "scope": "customer",
    }
    return JsonResponse(answer, 200, no_store)


@router.post(
    "/members/me/change-password",
    response_model=MemberAnswer,
    summary="Change one's password",
    **command(invalid="`wrong-password`", limited=True),
)
async def change_password(
    body: ChangePassword, request: Request, caller: Customer, commands: UseCases, throttle: Limits
) -> Response:
    """Replace the password; `422 wrong-password` where the current one is not right."""

    async def prepare() -> Callable[[UnitOfWork], Awaitable[Member]]:
        async with commands.begin() as uow:
            holder = await service.password_holder(uow, caller.subject)
        new_hash = await service.new_password_hash(holder, current=body.current_password, new=body.new_password)
        return lambda uow: service.change_password(uow, holder, new_hash=new_hash)

    wrong: WrongPassword | None = None
    async with throttle.password_check(request, f"member {caller.subject}") as attempt:
        try:
            answer = await commands.run_prepared(prepare, _answer)
        except WrongPassword as error:
            wrong = error
        else:
            attempt.succeeded()
    if wrong is not None:
        raise wrong
    return answer


@router.patch("/members/me", response_model=MemberAnswer, summary="Change one's name", **command())
async def rename_member(body: RenameMember, caller: Customer, commands: UseCases) -> Response:
    """Go by another name; orders placed before keep the old one."""
    return await commands.run(lambda uow: service.rename_member(uow, caller.subject, name=body.name), _answer)


@router.post(
    "/members/me/resend-verification",
    response_model=MemberAnswer,
    summary="Ask for another verification mail",
    **command(202, rules="`email-already-verified`, `too-many-verification-mails`", limited=True),
)
async def resend_verification(caller: Customer, commands: UseCases, throttle: Limits) -> Response:
    """Have the mail with a token sent again, soon; tokens sent before stay good."""
    throttle.ask_for_mail(caller.subject)
    return await commands.run(lambda uow: service.request_verification(uow, caller.subject), _answer, status=202)


@router.post(
    "/members/verify-email",
    response_model=MemberAnswer,
    summary="Confirm one's e-mail address",
    **command(invalid="`unknown-verification-token`", token=False),
)
async def verify_email(body: VerifyEmail, commands: UseCases) -> Response:
    """Use the token of a mail; `422 unknown-verification-token` where it is none, is too old, or was used."""
    return await commands.run(lambda uow: service.verify_email(uow, body.token), _answer)


def _answer(member: Member) -> dict[str, Any]:
    return {"member_id": member.id, "version": member.version}
