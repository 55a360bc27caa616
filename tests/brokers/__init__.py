"""Brokers that events are published to: a Kafka-protocol broker from the package index, RabbitMQ from Debian's."""
