"""Keys of an outside issuer, fetched from its URL: seldom, whatever callers send, and kept while it is away."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from runtime import tokens as tokens_module
from runtime.clock import now
from runtime.settings import Settings
from runtime.tokens import KeysUnavailableError, Tokens


class Issuer:
    """A JWKS URL that counts who asks."""

    def __init__(self) -> None:
        self.keys = {kid: rsa.generate_private_key(public_exponent=65537, key_size=2048) for kid in ("a", "b")}
        self.published = ["a"]
        self.asked = 0
        self.status = 200
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.end_headers()
                self.wfile.write(json.dumps({"keys": [issuer.jwk(kid) for kid in issuer.published]}).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"

    def jwk(self, kid: str) -> dict[str, Any]:
        """A public key."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[kid].public_key(), as_dict=True)
        return {**public, "kid": kid, "alg": "RS256", "use": "sig"}

    def token(self, kid: str, *, signed_by: str | None = None, subject: str = "ann") -> str:
        """Signed by the key that it names, unless told otherwise."""
        claims = {"sub": subject, "iss": "readside", "aud": "readside", "exp": now() + timedelta(hours=1)}
        return jwt.encode(claims, self.keys[signed_by or kid], "RS256", headers={"kid": kid})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """One that listens."""
    issuer = Issuer()
    thread = threading.Thread(target=issuer.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield issuer
    issuer.server.shutdown()
    thread.join()
    issuer.server.server_close()


def tokens_of(issuer: Issuer) -> Tokens:
    """A process that trusts this issuer."""
    return Tokens(Settings(_env_file=None, jwt_jwks=issuer.url))  # type: ignore[call-arg]  # a .env has no say


async def test_any_number_of_unknown_keys_asks_the_issuer_once(issuer: Issuer) -> None:
    tokens = tokens_of(issuer)
    for number in range(50):
        with pytest.raises(jwt.PyJWTError):
            await tokens.verify(issuer.token(f"made-up-{number}", signed_by="a"))
    assert (await tokens.verify(issuer.token("a"))).subject == "ann"

    assert issuer.asked == 1


async def test_a_new_key_is_found(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokens_of(issuer)
    await tokens.verify(issuer.token("a"))
    issuer.published = ["a", "b"]
    monkeypatch.setattr(tokens_module, "_FETCH_EVERY_SECONDS", 0.0)

    assert (await tokens.verify(issuer.token("b"))).subject == "ann"


async def test_while_the_issuer_is_away_its_last_keys_count(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokens_of(issuer)
    await tokens.verify(issuer.token("a"))
    issuer.status = 500
    monkeypatch.setattr(tokens_module, "_KEYS_COUNT_SECONDS", 0.0)

    assert (await tokens.verify(issuer.token("a", subject="bob"))).subject == "bob"
    assert issuer.asked == 2


async def test_without_any_key_nobody_can_say(issuer: Issuer) -> None:
    issuer.status = 500
    tokens = tokens_of(issuer)
    for _ in range(2):
        with pytest.raises(KeysUnavailableError):
            await tokens.verify(issuer.token("a"))

    assert issuer.asked == 1
