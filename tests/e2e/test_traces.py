"""Traces of running processes, at a real collector."""

from pathlib import Path

import httpx

from runtime.settings import Settings
from runtime.tokens import Tokens, secret_of
from tests.collector import collector
from tests.e2e.stack import Stack, wait_for

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_command_api_and_projector_tell_one_trace(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with (
        collector() as (url, received),
        Stack(data_dir, environment={"READSIDE_OTLP_ENDPOINT": url}) as stack,
    ):
        run = stack.until_ready()
        settings = Settings(_env_file=None, jwt_secret=secret_of(data_dir))  # type: ignore[call-arg,arg-type]
        staff = Tokens(settings).issue("sam", ["staff"])
        answer = httpx.post(
            f"http://127.0.0.1:{run.command_port}/products",
            json={"product_id": "pen", "name": "Pen", "category": "writing", "unit_price": 250, "stock": 9},
            headers={"Authorization": f"Bearer {staff}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
        )
        assert answer.status_code == 201, answer.text

        def told() -> set[tuple[str, str]]:
            return {
                ({one.key: one.value.string_value for one in resource.resource.attributes}["service.name"], span.name)
                for request in list(received)
                for resource in request.resource_spans
                for scope in resource.scope_spans
                for span in scope.spans
                if span.trace_id.hex() == TRACE
            }

        def all_is_told() -> bool:
            names = {name for _, name in told()}
            return {"POST /products", "transaction", "sequence", "project product_catalog"} <= names

        wait_for(all_is_told, "the whole trace")
        services = {service for service, _ in told()}
    assert services == {"readside-command-api", "readside-projector"}
