"""Every call of every process, as its OpenAPI document lists them, with every token that is not good enough.

A call that is added without a token fails here: what is open to everybody is listed below, by name.
"""

import base64
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from pydantic import SecretStr
from structlog.testing import capture_logs

import command.app
import projector.app
import query.app
from runtime.clock import now
from runtime.settings import Settings

SECRET = "a secret for tests alone, 32 bytes or more"
OPEN = {
    "POST /members",
    "POST /members/verify-email",
    "POST /token",
    "GET /products",
    "GET /products/{product_id}",
    "GET /posts",
    "GET /posts/{post_id}",
    "GET /livez",
    "GET /readyz",
    "GET /metrics",
    "GET /events/schemas",
    "GET /events/schemas/{event_type}/{version}",
    "GET /asyncapi.json",
}
APPS: dict[str, Callable[[Settings], FastAPI]] = {
    "command": command.app.create_app,
    "query": query.app.create_app,
    "projector": projector.app.create_app,
}
SCOPES = {  # of the contract; a call that is not in here needs some scope, too
    "command POST /members/me/change-password": {"customer"},
    "command POST /members/me/resend-verification": {"customer"},
    "command PATCH /members/me": {"customer"},
    "command POST /products": {"staff"},
    "command PATCH /products/{product_id}": {"staff"},
    "command POST /products/{product_id}/adjust-stock": {"staff"},
    "command POST /orders": {"customer"},
    "command POST /orders/{order_id}/pay": {"customer"},
    "command POST /orders/{order_id}/change-shipping-info": {"customer", "staff"},
    "command POST /orders/{order_id}/ship": {"staff"},
    "command POST /orders/{order_id}/start-delivery": {"staff"},
    "command POST /orders/{order_id}/complete-delivery": {"staff"},
    "command POST /orders/{order_id}/cancel": {"customer", "staff"},
    "command POST /coupons": {"staff"},
    "command POST /coupons/{coupon_code}/issue": {"staff"},
    "command POST /coupons/{coupon_code}/claim": {"customer"},
    "command POST /members/{member_id}/charge-points": {"staff"},
    "command POST /posts": {"customer"},
    "command PATCH /posts/{post_id}": {"customer"},
    "command DELETE /posts/{post_id}": {"customer", "staff"},
    "command GET /events": {"operator"},
    "command GET /events/stream": {"operator"},
    "query GET /orders/{order_id}": {"customer", "staff"},
    "query GET /orders": {"customer", "staff"},
    "query GET /orders/{order_id}/stream": {"customer", "staff"},
    "query GET /statistics/sales/stream": {"staff"},
    "query GET /statistics/sales": {"staff"},
    "query GET /statistics/products": {"staff"},
    "query GET /members/me": {"customer", "staff"},
    "query GET /members/{member_id}": {"customer", "staff"},
    "query GET /members/me/coupons": {"customer"},
    "query GET /coupons": {"staff"},
    "query GET /coupons/{coupon_code}": {"staff"},
    "query GET /members/me/points": {"customer", "staff"},
    "query GET /members/{member_id}/points": {"customer", "staff"},
    "query GET /projections": {"staff", "operator"},
    "projector GET /projections": {"operator"},
    "projector GET /reactions": {"operator"},
    "projector POST /projections/{name}/rebuild": {"operator"},
    "projector POST /projections/{name}/rollback": {"operator"},
    "projector GET /dead-letters": {"operator"},
    "projector GET /dead-letters/{letter_id}": {"operator"},
    "projector POST /dead-letters/retry": {"operator"},
    "projector POST /dead-letters/{letter_id}/retry": {"operator"},
    "projector POST /dead-letters/{letter_id}/discard": {"operator"},
}

_rsa, _other_rsa = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
_ec = ec.generate_private_key(ec.SECP256R1())
_pem = _rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
_rsa_jwk = jwt.algorithms.RSAAlgorithm.to_jwk(_rsa.public_key(), as_dict=True) | {"kid": "rsa", "alg": "RS256"}
_ec_jwk = jwt.algorithms.ECAlgorithm.to_jwk(_ec.public_key(), as_dict=True) | {"kid": "ec", "alg": "ES256"}


def claims(**changed: Any) -> dict[str, Any]:
    """Of a token that may do everything; ``None`` leaves a claim out."""
    good = {
        "sub": "ann",
        "scope": "customer staff operator",
        "iss": "readside",
        "aud": "readside",
        "exp": now() + timedelta(days=2),
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def hs256(**changed: Any) -> str:
    """By the shared secret."""
    return jwt.encode(claims(**changed), SECRET, "HS256")


def by_hand(header: dict[str, str], signature: bytes = b"") -> str:
    """A token that no library would make."""
    exp = {"exp": int((now() + timedelta(days=2)).timestamp())}
    parts = json.dumps(header).encode(), json.dumps(claims(**exp)).encode(), signature
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def confused(key: bytes) -> str:
    """HS256, with a public key for the secret; PyJWT itself refuses to make one."""
    import hashlib
    import hmac

    head = by_hand({"alg": "HS256", "typ": "JWT", "kid": "rsa"}).rpartition(".")[0]
    signature = hmac.digest(key, head.encode(), hashlib.sha256)
    return head + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


# Made when this file is read, long before the last test that uses them: by days, not by minutes.
REFUSED: dict[str, list[str]] = {
    "no header": [],
    "an empty header": [""],
    "no token": ["Bearer"],
    "another scheme": ["Basic YW5uOmFubg=="],
    "garbage": ["Bearer garbage"],
    "three dots": ["Bearer a.b.c"],
    "no ASCII": ["Bearer \u00e9\u00e9"],
    "endless": ["Bearer " + "x" * 20_000],
    "two headers": [f"Bearer {hs256()}", f"Bearer {hs256()}"],
    "none": ["Bearer " + by_hand({"alg": "none"})],
    "None": ["Bearer " + by_hand({"alg": "None"})],
    "no algorithm": ["Bearer " + by_hand({"typ": "JWT"})],
    "the public key as a secret": ["Bearer " + confused(_pem)],
    "the JWK as a secret": ["Bearer " + confused(json.dumps(_rsa_jwk).encode())],
    "another secret": ["Bearer " + jwt.encode(claims(), "another secret, which is as long as it must be", "HS256")],
    "HS512": ["Bearer " + jwt.encode(claims(), SECRET * 2, "HS512")],
    "another key": ["Bearer " + jwt.encode(claims(), _other_rsa, "RS256", headers={"kid": "rsa"})],
    "a key of its own": ["Bearer " + jwt.encode(claims(), _other_rsa, "RS256", headers={"kid": "x", "jwk": _rsa_jwk})],
    "an unknown key": ["Bearer " + jwt.encode(claims(), _rsa, "RS256", headers={"kid": "../../etc/passwd"})],
    "another algorithm of the key": ["Bearer " + jwt.encode(claims(), _rsa, "PS256", headers={"kid": "rsa"})],
    "the key of another family": ["Bearer " + jwt.encode(claims(), _ec, "ES256", headers={"kid": "rsa"})],
    "expired": ["Bearer " + hs256(exp=now() - timedelta(minutes=1))],
    "not yet valid": ["Bearer " + hs256(nbf=now() + timedelta(days=1))],
    "another audience": ["Bearer " + hs256(aud="another")],
    "another issuer": ["Bearer " + hs256(iss="another")],
    "no exp": ["Bearer " + hs256(exp=None)],
    "no aud": ["Bearer " + hs256(aud=None)],
    "no iss": ["Bearer " + hs256(iss=None)],
    "no sub": ["Bearer " + hs256(sub=None)],
    "an empty sub": ["Bearer " + hs256(sub="")],
}
ACCEPTED = {
    "HS256": hs256(),
    "RS256": jwt.encode(claims(), _rsa, "RS256", headers={"kid": "rsa"}),
    "ES256": jwt.encode(claims(), _ec, "ES256", headers={"kid": "ec"}),
}


def _apps(jwks: str | None = None) -> dict[str, FastAPI]:
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]  # a developer's .env has no say
        postgres_url="postgresql://nobody@localhost/none",
        mongo_url="mongodb://localhost:1/?replicaSet=none",
        jwt_secret=SecretStr(SECRET),
        jwt_jwks=jwks,
    )
    return {name: create_app(settings) for name, create_app in APPS.items()}


CALLS = [
    f"{name} {method.upper()} {path}"
    for name, app in _apps().items()
    for path, item in app.openapi()["paths"].items()
    for method in item
]
GUARDED = [call for call in CALLS if call.partition(" ")[2] not in OPEN or not call.startswith(("command", "query"))]
GUARDED = [call for call in GUARDED if call.rpartition(" ")[2] not in ("/livez", "/readyz", "/metrics")]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """An empty house crashes, as it should; a hundred long tracebacks take their time."""
    with capture_logs():
        yield


@pytest.fixture(scope="module")
async def clients(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """Of every app. None of them has a store: whoever gets past the door finds the house empty."""
    file = tmp_path_factory.mktemp("keys") / "jwks.json"
    file.write_text(json.dumps({"keys": [_rsa_jwk, _ec_jwk]}))
    apps = _apps(str(file))
    apps["projector"].state.registry = apps["projector"].state.operating = None
    made = {
        name: httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app, raise_app_exceptions=False), base_url=f"http://{name}"
        )
        for name, app in apps.items()
    }
    yield made
    for client in made.values():
        await client.aclose()


async def _called(clients: dict[str, httpx.AsyncClient], call: str, authorization: list[str]) -> httpx.Response:
    name, method, path = call.split(" ")
    headers = [("Authorization", value.encode("latin-1")) for value in authorization]
    body: dict[str, Any] = {} if method == "GET" else {"json": {}}
    path = path.replace("{", "").replace("}", "")
    return await clients[name].request(method, path, headers=headers, **body)  # type: ignore[arg-type]  # bytes are fine


def _slug(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"].removeprefix("/problems/")


def test_every_call_of_the_contract_is_there() -> None:
    assert SCOPES.keys() <= set(GUARDED)


@pytest.mark.parametrize("call", GUARDED)
async def test_no_call_takes_a_token_that_is_not_valid(clients: dict[str, httpx.AsyncClient], call: str) -> None:
    found = {name: await _called(clients, call, given) for name, given in REFUSED.items()}

    assert {name: _slug(answer) for name, answer in found.items()} == dict.fromkeys(REFUSED, (401, "unauthorized"))
    assert {answer.headers["www-authenticate"] for answer in found.values()} == {"Bearer"}


@pytest.mark.parametrize("call", GUARDED)
async def test_no_call_takes_a_token_without_its_scope(clients: dict[str, httpx.AsyncClient], call: str) -> None:
    lacking = [set(), {"admin"}, {"Staff"}, *({one} for one in {"customer", "staff", "operator"} - _needed(call))]
    tokens = [hs256(scope=" ".join(scopes)) for scopes in lacking] + [hs256(scope=None), hs256(scope=["staff"])]

    answers = [await _called(clients, call, [f"Bearer {token}"]) for token in tokens]

    assert [_slug(answer) for answer in answers] == [(403, "forbidden")] * len(answers)


@pytest.mark.parametrize("call", SCOPES)
async def test_every_scope_of_the_contract_lets_in(clients: dict[str, httpx.AsyncClient], call: str) -> None:
    answers = [await _called(clients, call, [f"Bearer {hs256(scope=scope)}"]) for scope in SCOPES[call]]

    # The house is empty, or what was sent is no order: but it was not the door that refused.
    assert {answer.status_code for answer in answers}.isdisjoint({401, 403})


@pytest.mark.parametrize("token", ACCEPTED.values(), ids=ACCEPTED)
async def test_keys_may_be_a_secret_or_of_a_jwk_set(clients: dict[str, httpx.AsyncClient], token: str) -> None:
    answer = await _called(clients, "command POST /orders", [f"bearer {token}"])

    assert answer.status_code not in (401, 403)


@pytest.mark.parametrize("call", [call for call in CALLS if call not in GUARDED])
async def test_what_is_open_asks_for_no_token(clients: dict[str, httpx.AsyncClient], call: str) -> None:
    assert (await _called(clients, call, ["Bearer garbage"])).status_code not in (401, 403)


def _needed(call: str) -> set[str]:
    # What the contract does not name is not for everybody: at least whoever has no scope stays out.
    return SCOPES.get(call, {"customer", "staff", "operator"})
