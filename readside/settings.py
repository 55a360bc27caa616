"""Settings of commands that work beside a running `readside up`.

What is set explicitly wins; then what the living `up` of the data directory has written down.
"""

from typing import Any

from pydantic import SecretStr

from readside import run_file
from readside.errors import NothingRunningError
from runtime.settings import Settings, load_settings


def resolved_settings(*, postgres: bool = True, mongo: bool = True) -> Settings:
    """Settings with the URLs of both stores and the token secret.

    ``postgres`` and ``mongo`` say which stores the caller needs; raises `NothingRunningError` for one without URL.
    """
    settings = load_settings()
    missing: dict[str, Any] = {}
    if run := run_file.read_living(settings.data_dir):
        # Who needs no Postgres is not told where it is.
        found = {"postgres_url": postgres and run.postgres_url, "mongo_url": mongo and run.mongo_url}
        found["payment_gateway_url"] = run.payment_gateway_url or False
        missing = {name: url for name, url in found.items() if url}
        settings = settings.model_copy(update=_unless_set(settings, run.api_urls))
    if settings.jwt_jwks is None and (secret := _secret(settings)):
        missing["jwt_secret"] = SecretStr(secret)
    settings = settings.model_copy(
        update={name: value for name, value in missing.items() if getattr(settings, name) is None}
    )
    needed = {"READSIDE_POSTGRES_URL": postgres and settings.postgres_url is None}
    needed["READSIDE_MONGO_URL"] = mongo and settings.mongo_url is None
    if unset := [name for name, is_missing in needed.items() if is_missing]:
        raise NothingRunningError(
            f"nothing is running on {settings.data_dir}: start `readside up`, or set {' and '.join(unset)}"
        )
    return settings


def _unless_set(settings: Settings, urls: dict[str, str]) -> dict[str, str]:
    return {name: url for name, url in urls.items() if name not in settings.model_fields_set}


def _secret(settings: Settings) -> str | None:
    if settings.jwt_secret is not None:
        return None
    # Here, because it brings the whole web framework with it.
    from runtime.tokens import secret_of

    return secret_of(settings.data_dir)
