"""Settings of traces; off unless an endpoint is set."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from runtime.checked_urls import checked_url


class TraceSettings(BaseSettings):
    """A part of `runtime.settings.Settings`."""

    otlp_endpoint: str | None = None
    """``http://collector:4318`` of an OpenTelemetry collector, by HTTP; none: no traces."""
    otlp_headers: SecretStr | None = None
    """``name=value``, several with commas, that the collector asks for."""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the requests that begin a trace; whoever sends a ``traceparent`` has decided already."""

    @field_validator("otlp_endpoint", "otlp_headers", mode="before")
    @classmethod
    def _no_traces_where_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("otlp_endpoint")
    @classmethod
    def _names_a_collector(cls, value: str | None) -> str | None:
        checked_url(value, {"http", "https"}, "http://collector:4318")
        return None if value is None else value.rstrip("/").removesuffix("/v1/traces")

    @field_validator("otlp_headers")
    @classmethod
    def _are_pairs(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all("=" in part for part in value.get_secret_value().split(",")):
            raise ValueError("not of the form name=value, or several of them with commas")
        return value
