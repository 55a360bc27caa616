"""Settings of the brokers that events are published to; none is used unless it is set."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from runtime.checked_urls import checked_url


class BrokerSettings(BaseSettings):
    """A part of `runtime.settings.Settings`."""

    kafka_brokers: str | None = None
    """``host:port``, several with commas; none: nothing is published to Kafka."""
    kafka_topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = "readside.events"
    kafka_partitions: Annotated[int, Field(ge=1, le=10_000)] = 8
    """Of a topic that is made; one that is there keeps its own."""
    kafka_replication: Annotated[int, Field(ge=0, le=10)] = 0
    """Of a topic that is made; 0: the brokers' default."""
    kafka_tls: bool = False
    kafka_ca_file: Path | None = None
    """Certificates that the brokers are believed by; none: the system's."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None

    rabbitmq_url: SecretStr | None = None
    """``amqp://user:password@host:5672/vhost``, or ``amqps://…``; none: nothing is published to RabbitMQ."""
    rabbitmq_exchange: Annotated[str, Field(min_length=1, max_length=200)] = "readside.events"
    rabbitmq_from_beginning: bool = False
    """Whether the exchange is told what was in the log before it was first set."""

    @field_validator("kafka_brokers", "kafka_ca_file", "kafka_user", "kafka_password", "rabbitmq_url", mode="before")
    @classmethod
    def _no_broker_where_empty(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("kafka_brokers")
    @classmethod
    def _are_hosts_and_ports(cls, value: str | None) -> str | None:
        if value is not None and not all(re.fullmatch(r"[^\s/:,]+:\d{1,5}", part) for part in value.split(",")):
            raise ValueError("not of the form host:9092, or several of them with commas")
        return value

    @field_validator("kafka_ca_file")
    @classmethod
    def _can_be_read(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("rabbitmq_url")
    @classmethod
    def _names_rabbitmq(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            checked_url(value.get_secret_value(), {"amqp", "amqps"}, "amqp://user:password@host:5672/")
        return value

    @model_validator(mode="after")
    def _user_has_a_password(self) -> Self:
        if (self.kafka_user is None) != (self.kafka_password is None):
            raise ValueError("READSIDE_KAFKA_USER and READSIDE_KAFKA_PASSWORD go together")
        return self
