"""One trace from a request to what it brings about, over real databases; and its way to a collector."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link

from command.background import background
from projector.daemon import Daemon
from runtime import tracing
from runtime.exporting import provider_of
from runtime.settings import Settings
from tests.collector import collector
from tests.integration.commanding import Shop, shop
from tests.integration.projecting import until
from tests.integration.serving import served
from tests.integration.test_outside import Service

__all__ = ["shop"]  # a fixture

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = f"00-{TRACE}-00f067aa0ba902b7-01"
NOT_KEPT = f"00-{TRACE}-00f067aa0ba902b7-00"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Every span that ends while the test runs."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracing.use(provider)
    yield memory
    tracing.use(None)
    provider.shutdown()


@pytest.fixture
async def platform() -> AsyncIterator[tuple[Service, str]]:
    """An outside service, and where it is."""
    service = Service()
    async with served(service.app) as running:
        yield service, running.url


async def test_one_trace_goes_from_the_request_to_views_reactions_and_the_outside(
    exporter: InMemorySpanExporter,
    shop: Shop,
    settings: Settings,
    platform: tuple[Service, str],
) -> None:
    service, url = platform
    daemon = Daemon(settings.model_copy(update={"data_platform_url": url}), background=background)
    async with daemon.running():
        await shop.product()
        shop.client.headers["traceparent"] = CALLER
        order_id = await shop.placed()
        await shop.post(f"/orders/{order_id}/pay", {"method": "card", "card_token": "tok_visa"})

        async def is_told() -> bool:
            return bool(service.calls) and "project order_detail" in names(in_trace(exporter))

        await until(is_told, "the data platform")
        await until(lambda: _has(exporter, "OrderPaid"), "the view of the paid order")

    spans = in_trace(exporter)
    by_id = {one.context.span_id: one for one in spans if one.context}
    placing = one_of(spans, "POST /orders")
    assert placing.parent is not None
    assert f"{placing.parent.span_id:016x}" == CALLER.split("-")[2]
    assert attributes(placing)["http.response.status_code"] == 201

    # Request, transaction, log and view, each below the one before it.
    for view in ("order_detail", "sales_statistics", "product_catalog", "member_profile"):
        projected = one_of(spans, f"project {view}", "OrderPlaced")
        assert lineage(projected, by_id)[:3] == [f"project {view}", "transaction", "POST /orders"]
    sequenced = one_of(spans, "sequence", "OrderPlaced")
    assert lineage(sequenced, by_id)[:3] == ["sequence", "transaction", "POST /orders"]
    assert attributes(sequenced)["readside.aggregate_id"] == order_id

    # What a reaction did, and what came of that: the whole saga is one trace.
    paid = one_of(spans, "project order_detail", "OrderPaid")
    assert [name for name in lineage(paid, by_id) if name.startswith("react ")]
    assert lineage(paid, by_id)[-1] == "POST /orders/{order_id}/pay"
    [(_, headers, _)] = service.calls
    told = one_of(spans, "POST", parent="react data_platform", by_id=by_id)
    assert told.context is not None
    assert headers["traceparent"] == f"00-{TRACE}-{told.context.span_id:016x}-01"


async def test_a_batch_of_several_events_links_to_each_of_them(
    exporter: InMemorySpanExporter,
    shop: Shop,
    settings: Settings,
) -> None:
    await shop.product()
    shop.client.headers["traceparent"] = CALLER
    for _ in range(3):
        await shop.placed()
    async with Daemon(settings).running():
        await until(lambda: _count(exporter, "project order_detail", 3), "three events")
    batch = one_of(exporter.get_finished_spans(), "write order_detail")
    projected = [one for one in in_trace(exporter) if one.name == "project order_detail"]
    assert {link.context.span_id for link in batch.links} == {one.parent.span_id for one in projected if one.parent}
    assert batch.context is not None
    assert {link.context.span_id for one in projected for link in one.links} == {batch.context.span_id}


async def test_of_an_event_in_no_trace_that_is_kept_nothing_is_recorded(
    exporter: InMemorySpanExporter,
    shop: Shop,
    settings: Settings,
) -> None:
    shop.client.headers["traceparent"] = NOT_KEPT
    await shop.product()
    daemon = Daemon(settings)
    async with daemon.running():
        await until(lambda: _all_at(daemon, 1), "the views")
    assert [one.name for one in exporter.get_finished_spans()] == []


async def test_what_an_event_in_no_trace_causes_begins_none(
    exporter: InMemorySpanExporter, shop: Shop, settings: Settings
) -> None:
    shop.client.headers["traceparent"] = NOT_KEPT
    await shop.product()
    async with Daemon(settings, background=background).running():
        order_id = await shop.placed()
        await shop.post(f"/orders/{order_id}/pay", {"method": "card", "card_token": "tok_visa"})

        async def is_paid() -> bool:
            rows = await shop.rows("SELECT status FROM orders WHERE order_id = $1", order_id)
            return bool(rows[0]["status"] == "PREPARING")

        await until(is_paid, "the payment")
    rows = await shop.rows("SELECT traceparent FROM event_log WHERE aggregate_id = $1", order_id)
    assert {(row["traceparent"][3:35], row["traceparent"][-2:]) for row in rows} == {(TRACE, "00")}
    assert exporter.get_finished_spans() == ()


def test_a_span_says_what_kind_of_error_it_was_and_nothing_of_its_message(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), tracing.span("something"):
        raise ValueError("ann@example.com has a secret")
    [span] = exporter.get_finished_spans()
    assert attributes(span) == {"error.type": "ValueError"}
    assert (span.events, span.status.description) == ((), None)


def test_a_batch_is_kept_with_the_traces_that_it_joins(settings: Settings) -> None:
    seldom = settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9", "trace_ratio": 0.0})
    provider = provider_of(seldom, "tests", tracing.EXPORTED, timeout_seconds=0.1)
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("caller", context=tracing._context(CALLER)) as caller:
        kept = Link(caller.get_span_context())
    assert caller.is_recording() is False  # ended; it was kept, as its caller had decided
    assert tracer.start_span("write", links=[kept]).is_recording()
    assert not tracer.start_span("write").is_recording()
    provider.shutdown()


async def test_spans_reach_a_collector_by_otlp_and_are_flushed_at_the_end(settings: Settings) -> None:
    with collector() as (url, received):
        provider = provider_of(
            settings.model_copy(update={"otlp_endpoint": url}), "tests", tracing.EXPORTED, timeout_seconds=5
        )
        tracing.use(provider)
        try:
            with tracing.span("something", readside__position=7):
                pass
            await asyncio.to_thread(tracing.stop)
        finally:
            tracing.use(None)
    [resource] = [one for request in received for one in request.resource_spans]
    assert {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"] == "readside-tests"
    [span] = [one for scope in resource.scope_spans for one in scope.spans]
    assert span.name == "something"
    assert [(one.key, one.value.int_value) for one in span.attributes] == [("readside.position", 7)]


async def test_a_collector_that_is_away_costs_spans_and_nothing_else(settings: Settings) -> None:
    before = lost()
    away = settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9"})
    tracing.use(provider_of(away, "tests", tracing.EXPORTED, timeout_seconds=0.2))
    try:
        with tracing.span("something"):
            pass
        await asyncio.wait_for(asyncio.to_thread(tracing.stop), 10)
    finally:
        tracing.use(None)
    assert lost() == before + 1


@pytest.mark.parametrize("module", ["command.app", "query.app", "projector.app"])
def test_while_traces_are_off_nothing_is_imported_to_make_them(module: str) -> None:
    # Its API alone is imported by others for their own sake; it makes no span.
    makers = "('opentelemetry.sdk', 'opentelemetry.exporter')"
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith({makers})])"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ})
    assert told.stdout.strip() == "[]"


def in_trace(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """The spans of the caller's trace."""
    return [one for one in exporter.get_finished_spans() if one.context and f"{one.context.trace_id:032x}" == TRACE]


def names(spans: Sequence[ReadableSpan]) -> set[str]:
    return {one.name for one in spans}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def one_of(
    spans: Sequence[ReadableSpan],
    name: str,
    event_type: str | None = None,
    *,
    parent: str | None = None,
    by_id: dict[int, ReadableSpan] | None = None,
) -> ReadableSpan:
    """The first of these."""
    for one in spans:
        if one.name != name or event_type not in (None, attributes(one).get("readside.event_type")):
            continue
        if parent is None or (by_id is not None and one.parent and by_id[one.parent.span_id].name == parent):
            return one
    raise AssertionError(f"no {name} {event_type or ''} among {sorted(names(spans))}")


def lineage(span: ReadableSpan, by_id: dict[int, ReadableSpan]) -> list[str]:
    """Its name, its parent's, and so on."""
    found = [span.name]
    while span.parent is not None and span.parent.span_id in by_id:
        span = by_id[span.parent.span_id]
        found.append(span.name)
    return found


async def _has(exporter: InMemorySpanExporter, event_type: str) -> bool:
    return any(
        one.name == "project order_detail" and attributes(one)["readside.event_type"] == event_type
        for one in in_trace(exporter)
    )


async def _count(exporter: InMemorySpanExporter, name: str, count: int) -> bool:
    return sum(one.name == name for one in in_trace(exporter)) == count


async def _all_at(daemon: Daemon, position: int) -> bool:
    return bool(daemon.runners) and all(runner.position >= position for runner in daemon.runners)


def lost() -> float:
    """Spans that no collector took, so far."""
    return float(tracing.EXPORTED.labels("lost")._value.get())
