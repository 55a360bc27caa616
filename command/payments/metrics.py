"""What paying tells at ``/metrics`` of the process that asks the gateway: the projector."""

from prometheus_client import Gauge

CIRCUIT_OPEN = Gauge(
    "readside_payment_gateway_circuit_open",
    "1 while the card gateway, having failed a few times running, is not asked, or not yet trusted again",
    ["call"],
)
