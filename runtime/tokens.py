"""Bearer tokens: who calls, and with which scopes.

Tokens are JWTs with ``sub``, ``scope``, ``iss``, ``aud`` and ``exp``. They are signed with a shared secret (HS256)
or checked against a JWK set (RS256, ES256, EdDSA). The algorithm is never taken from the token: a key of one family
accepts the algorithms of that family only, which is what stops ``none`` and a public key used as an HMAC secret.
"""

import asyncio
import json
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import monotonic, time
from typing import Any, Literal

import jwt
import structlog

from runtime.clock import now
from runtime.errors import ReadsideError, SettingsError
from runtime.settings import Settings

log = structlog.get_logger()

ScopeName = Literal["customer", "staff", "operator"]
SCOPES: dict[str, str] = {
    "customer": "place and see one's own orders",
    "staff": "run the shop: products, shipping, every order, statistics",
    "operator": "run the system: event log, projections, dead letters",
}
_ASYMMETRIC = ["RS256", "ES256", "EdDSA"]
_CLOCK_SKEW = timedelta(seconds=5)

_REMEMBERED_SECONDS = 60.0
"""How long a verified token is taken for valid unseen: within it a key that was withdrawn still works."""
_MOST_REMEMBERED = 4096

_KEYS_COUNT_SECONDS = 300.0
"""How long fetched keys count before they are fetched anew."""
_FETCH_EVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever a valid token speaks for."""

    subject: str
    scopes: frozenset[str]
    name: str | None = None
    expires_at: float = math.inf
    """Seconds since 1970: whoever goes on being served for longer is to be served no more."""

    def has(self, scope: str) -> bool:
        """Whether the token carries this scope."""
        return scope in self.scopes


class Tokens:
    """Issues (shared secret only) and verifies tokens by one process's settings."""

    def __init__(self, settings: Settings) -> None:
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self.lifetime_seconds = settings.jwt_lifetime_seconds
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._jwks = _JwkSet(settings.jwt_jwks) if settings.jwt_jwks else None
        self._remembered: dict[str, tuple[Caller, float]] = {}
        if self._secret is None and self._jwks is None:
            raise SettingsError(
                "READSIDE_JWT_SECRET or READSIDE_JWT_JWKS is needed (`readside up` makes a secret by itself)"
            )

    def issue(self, subject: str, scopes: Iterable[str], *, name: str | None = None) -> str:
        """A signed token. Raises `SettingsError` where only a JWK set is configured."""
        if self._secret is None:
            raise SettingsError("READSIDE_JWT_SECRET is not set: tokens come from the issuer behind READSIDE_JWT_JWKS")
        issued_at = now()
        claims: dict[str, Any] = {
            "sub": subject,
            "scope": " ".join(scopes),
            "iss": self._issuer,
            "aud": self._audience,
            "iat": issued_at,
            "exp": issued_at + timedelta(seconds=self.lifetime_seconds),
        }
        if name is not None:
            claims["name"] = name
        return jwt.encode(claims, self._secret, algorithm="HS256")

    async def verify(self, token: str) -> Caller:
        """The caller behind a token. Raises `jwt.InvalidTokenError` for any that is not valid."""
        remembered = self._remembered.get(token)
        if remembered is not None and time() < remembered[1]:
            return remembered[0]
        claims = await self._claims(token)
        scope = claims.get("scope", "")
        name = claims.get("name")
        if not claims["sub"] or not claims["sub"].isprintable():
            raise jwt.InvalidTokenError("a subject is needed, and one that can be written down")
        expires_at = float(claims["exp"]) + _CLOCK_SKEW.total_seconds()
        caller = Caller(
            subject=claims["sub"],
            scopes=frozenset(scope.split()) if isinstance(scope, str) else frozenset(),
            name=name if isinstance(name, str) and name.isprintable() else None,
            expires_at=expires_at,
        )
        self._remember(token, caller)
        return caller

    async def _claims(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        key: Any
        if header.get("alg") == "HS256" and self._secret is not None:
            key, algorithms = self._secret, ["HS256"]
        elif self._jwks is not None:
            key, algorithms = await self._jwks.key(header.get("kid")), _ASYMMETRIC
        else:
            raise jwt.InvalidAlgorithmError("no key for this algorithm")
        return jwt.decode(
            token,
            key,
            algorithms=algorithms,
            issuer=self._issuer,
            audience=self._audience,
            leeway=_CLOCK_SKEW,
            options={"require": ["sub", "iss", "aud", "exp"]},
        )

    def _remember(self, token: str, caller: Caller) -> None:
        # By the whole token, never by a part of it: whatever was not verified is not in here.
        self._remembered.pop(token, None)
        if len(self._remembered) >= _MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[token] = (caller, min(time() + _REMEMBERED_SECONDS, caller.expires_at))


class KeysUnavailableError(ReadsideError):
    """The issuer's keys cannot be fetched just now, so nobody can say whether a token is valid."""


class _JwkSet:
    """The signing keys of an outside issuer, read from a file or fetched, off the event loop, from a URL.

    Anybody can name a key that does not exist: whatever callers send, the issuer is asked at most once in
    ``_FETCH_EVERY_SECONDS``. While it is away, the keys that it gave last go on counting.
    """

    def __init__(self, location: str) -> None:
        self._client: jwt.PyJWKClient | None = None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._asked_at = -math.inf
        self._fetching = asyncio.Lock()
        if location.startswith(("https://", "http://")):
            self._client = jwt.PyJWKClient(location, cache_jwk_set=False, timeout=5)
            return
        try:
            listed = jwt.PyJWKSet.from_dict(json.loads(Path(location).read_text()))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            raise SettingsError(f"READSIDE_JWT_JWKS: {location} is not a readable JWK set ({error})") from None
        self._keys = {key.key_id: key for key in listed.keys}

    async def key(self, kid: str | None) -> jwt.PyJWK:
        """Raises `jwt.InvalidKeyError` for one that the issuer does not have, and `KeysUnavailableError`."""
        if self._client is not None:
            await self._fetch(self._client, kid)
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        try:
            return self._keys[kid]
        except KeyError:
            raise jwt.InvalidKeyError("unknown key") from None

    async def _fetch(self, client: jwt.PyJWKClient, kid: str | None) -> None:
        async with self._fetching:
            age = monotonic() - self._asked_at
            if age < (_KEYS_COUNT_SECONDS if kid in self._keys else _FETCH_EVERY_SECONDS):
                if not self._keys:
                    raise KeysUnavailableError
                return
            self._asked_at = monotonic()
            try:
                found = await asyncio.to_thread(client.get_signing_keys)
            except jwt.PyJWKClientError as error:
                log.warning("the issuer's keys could not be fetched", reason=type(error).__name__)
                if not self._keys:
                    raise KeysUnavailableError from None
            else:
                self._keys = {key.key_id: key for key in found}


def secret_of(data_dir: Path, *, create: bool = False) -> str | None:
    """The random HS256 secret of a data directory; ``create`` makes it, readable by its owner alone."""
    file = data_dir / "jwt-secret"
    if not file.exists():
        if not create:
            return None
        data_dir.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(48) + "\n")
    return file.read_text().strip()
