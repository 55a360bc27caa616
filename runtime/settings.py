"""Settings: environment variables ``READSIDE_…`` or a ``.env`` file, checked once, at start.

A wrong setting is one readable line and exit status 2, never a stack trace and never a surprise at runtime.
"""

import re
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import SettingsConfigDict

from runtime.broker_settings import BrokerSettings
from runtime.checked_urls import checked_url
from runtime.errors import SettingsError

_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
    CAD CDF CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
    GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD
    KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN
    NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP
    SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VED VES
    VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG
"""
ISO_4217 = frozenset(_CODES.split())

SHORTEST_SECRET = 32  # bytes: RFC 7518 asks HS256 for a key at least as long as its hash


class Settings(BrokerSettings):
    """Everything a process can be told. Field ``x`` is the environment variable ``READSIDE_X``."""

    model_config = SettingsConfigDict(
        env_prefix="READSIDE_", env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
    )

    postgres_url: str | None = None
    """``postgresql://user:password@host/database``; none: the embedded PostgreSQL of the data directory."""
    mongo_url: str | None = None
    """``mongodb://…`` of a replica set or a sharded cluster; none: the embedded MongoDB."""
    mongo_database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = "readside"
    data_dir: Path = Path(".readside")
    archive_dir: Path | None = None
    """Where archived parts of the log are; none: ``archive`` in the data directory."""
    host: str = "127.0.0.1"
    """The address that the HTTP servers listen on."""
    currency: str = "USD"
    time_zone: str = "UTC"
    """Business time zone: which day, week and month a sale is booked in."""

    jwt_secret: SecretStr | None = None
    jwt_jwks: str | None = None
    """File or URL of a JWK set; tokens signed RS256, ES256 or EdDSA are then accepted."""
    jwt_issuer: str = "readside"
    jwt_audience: str = "readside"
    jwt_lifetime_seconds: Annotated[int, Field(ge=60, le=30 * 86400)] = 3600

    sign_ups_per_minute: Annotated[int, Field(ge=1, le=10**6)] = 60
    """Of one client address."""
    tokens_per_minute: Annotated[int, Field(ge=1, le=10**6)] = 300
    """Of one client address."""
    password_failures_per_minute: Annotated[int, Field(ge=1, le=10**6)] = 10
    """Of one account."""
    trusted_proxies: str = ""
    """Addresses and networks, with commas, whose ``X-Forwarded-For`` is believed."""

    most_listeners: Annotated[int, Field(ge=1, le=10**6)] = 500
    """Of one process: calls that wait for events, and open streams, at once."""
    slow_reader_seconds: Annotated[float, Field(gt=0, le=3600)] = 20
    """A stream's reader that takes nothing for so long is dropped."""

    cors_origins: str = ""
    """Origins of web pages, with commas, whose scripts may call the APIs; none by default."""

    access_log: bool = True
    """One line per request, without anything personal."""
    log_format: Literal["auto", "console", "json", "plain"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    batch_limit: Annotated[int, Field(ge=1, le=20_000)] = 2_000
    """Most events in one transaction of a projection."""
    park_after_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a projection tries an event before it becomes a dead letter."""
    retry_dead_letters_seconds: Annotated[int, Field(ge=0, le=86_400)] = 0
    """How long after a failure a dead letter is tried again by itself, then twice as long, and so on; 0: never."""

    reaction_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a reaction tries an event before it becomes a dead letter."""
    reaction_backoff_seconds: Annotated[float, Field(gt=0, le=3600)] = 1.0
    """How long it waits after the first failure; twice as long after each further one."""
    payment_deadline_seconds: Annotated[int, Field(ge=0, le=10 * 365 * 86_400)] = 30 * 86_400
    """How old an order may be before it is canceled because nobody has paid for it; 0: never."""
    payment_gateway_url: str | None = None
    """``http://host:port`` of the card gateway, or of `readside payment-simulator`; none: payments are simulated in the
    process, and no money moves."""
    payment_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    """How long an answer of the card gateway is waited for."""
    smtp_url: str | None = None
    """``smtp://user:password@host:587`` (``smtps://`` for TLS from the start); none: mails become files in the data
    directory."""
    mail_from: str = "shop@readside.invalid"
    """The sender of the shop's mails."""
    public_url: str | None = None
    """Where the shop's own pages are: mails then link to ``/verify-email`` there; none: they tell the call to make."""
    shipping_url: str | None = None
    """Where the shipping service takes changed addresses; none: lines in a file of the data directory."""
    data_platform_url: str | None = None
    """Where the data platform takes paid orders; none: lines in a file of the data directory."""

    audit_seconds: Annotated[int, Field(ge=0, le=86_400)] = 60
    """How often the projector compares a few random documents with what the log makes of them; 0: never."""
    audit_sample: Annotated[int, Field(ge=1, le=10_000)] = 20
    """How many documents of each view that is."""

    @field_validator(
        "postgres_url",
        "mongo_url",
        "archive_dir",
        "jwt_secret",
        "jwt_jwks",
        "payment_gateway_url",
        "smtp_url",
        "public_url",
        "shipping_url",
        "data_platform_url",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("postgres_url")
    @classmethod
    def _names_postgres(cls, value: str | None) -> str | None:
        return checked_url(value, {"postgresql", "postgres"}, "postgresql://user:password@host:5432/database")

    @field_validator("mongo_url")
    @classmethod
    def _names_mongodb(cls, value: str | None) -> str | None:
        return checked_url(value, {"mongodb", "mongodb+srv"}, "mongodb://host:27017/?replicaSet=rs0")

    @field_validator("smtp_url")
    @classmethod
    def _names_a_mail_server(cls, value: str | None) -> str | None:
        return checked_url(value, {"smtp", "smtps"}, "smtp://user:password@host:587, or smtps:// for TLS at once")

    @field_validator("payment_gateway_url")
    @classmethod
    def _names_a_gateway(cls, value: str | None) -> str | None:
        return checked_url(value, {"http", "https"}, "https://host:port")

    @field_validator("public_url", "shipping_url", "data_platform_url")
    @classmethod
    def _is_of_the_web(cls, value: str | None) -> str | None:
        return checked_url(value, {"http", "https"}, "https://host/path")

    @field_validator("mail_from")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not re.fullmatch(r"[^@\s]+@[^@\s]+", parseaddr(value)[1]) or not value.isprintable():
            raise ValueError("not an address such as shop@example.com or Shop <shop@example.com>")
        return value

    @field_validator("currency")
    @classmethod
    def _is_iso_4217(cls, value: str) -> str:
        if value not in ISO_4217:
            raise ValueError(f"{value!r} is not an ISO 4217 currency code such as USD, EUR or KRW")
        return value

    @field_validator("time_zone")
    @classmethod
    def _is_iana_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"{value!r} is not an IANA time zone such as UTC, Europe/London or Asia/Seoul")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < SHORTEST_SECRET:
            raise ValueError(f"a secret of at least {SHORTEST_SECRET} bytes is needed for HS256")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: str) -> str:
        for origin in _listed(value):
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "*" in origin:
                raise ValueError(f"{origin!r} is no origin such as https://shop.example")
        return value

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The pages that may call the APIs, one by one."""
        return _listed(self.cors_origins)

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The trusted proxies, parsed."""
        return _networks(self.trusted_proxies)

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a process that is to have the same; secrets among them."""
        told = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            f"READSIDE_{name.upper()}": value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in told.items()
            if value is not None
        }

    @property
    def archives(self) -> Path:
        """The directory of the archived parts of the log."""
        return self.archive_dir or self.data_dir / "archive"

    @property
    def zone(self) -> ZoneInfo:
        """The business time zone, ready to use."""
        return ZoneInfo(self.time_zone)


def load_settings() -> Settings:
    """Read and check the environment. Raises `SettingsError` with one line that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        # Of what concerns several settings no one is named before it: the sentence names them all.
        name = "".join(f"READSIDE_{part}: ".upper() for part in first["loc"][:1])
        raise SettingsError(f"{name}{first['msg'].removeprefix('Value error, ')}") from None


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part) for part in _listed(value))
    except ValueError as error:
        raise ValueError(f"{error}; addresses or networks such as 10.0.0.0/8 are needed, with commas") from None
