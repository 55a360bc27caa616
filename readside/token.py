"""Tokens for people on this machine: whoever may read the secret may speak for anybody."""

from pydantic import SecretStr

from runtime.errors import SettingsError
from runtime.settings import load_settings
from runtime.tokens import SCOPES, Tokens, secret_of


def make_token(subject: str, scopes: list[str], *, lifetime_seconds: int | None = None) -> str:
    """A signed token, by the configured secret or the data directory's. Raises `SettingsError` without one."""
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise SettingsError(f"--scope {unknown[0]}: there are only {', '.join(SCOPES)}")
    settings = load_settings()
    secret = settings.jwt_secret or _secret_of_data_dir()
    if secret is None:
        raise SettingsError(
            f"there is no secret to sign with: set READSIDE_JWT_SECRET, or run `readside up` on {settings.data_dir}"
        )
    update = {"jwt_secret": secret, "jwt_jwks": None}
    tokens = Tokens(settings.model_copy(update=update))
    tokens.lifetime_seconds = lifetime_seconds or tokens.lifetime_seconds
    return tokens.issue(subject, scopes)


def _secret_of_data_dir() -> SecretStr | None:
    secret = secret_of(load_settings().data_dir)
    return SecretStr(secret) if secret else None
