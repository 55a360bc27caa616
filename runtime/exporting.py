"""Where spans go: to an OpenTelemetry collector, over HTTP. Imported only where one is set."""

from collections.abc import Sequence
from importlib.metadata import version

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes
from prometheus_client import Counter

from runtime.settings import Settings

_MOST_WAITING, _MOST_AT_ONCE, _EVERY_MS = 8_192, 512, 1_000


class Counted(SpanExporter):
    """Counts what became of the spans that another exporter was given."""

    def __init__(self, exporter: SpanExporter, counter: Counter) -> None:
        self._exporter = exporter
        self._counter = counter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """As the other one does."""
        result = self._exporter.export(spans)
        outcome = "sent" if result is SpanExportResult.SUCCESS else "lost"
        self._counter.labels(outcome).inc(len(spans))
        return result

    def shutdown(self) -> None:
        """As the other one does."""
        self._exporter.shutdown()


class Counting(SpanProcessor):
    """Counts the spans that were recorded: those that are neither sent nor lost had no room in the queue."""

    def __init__(self, counter: Counter) -> None:
        self._recorded = counter.labels("recorded")

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002  (the base class's)
        """One more."""
        self._recorded.inc()


class KeptWithItsLinks(Sampler):
    """A batch is kept where any of the traces that it joins is; else the share of the settings decides."""

    def __init__(self, ratio: float) -> None:
        self._by_chance = TraceIdRatioBased(ratio)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """As the base class says."""
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._by_chance.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """For the driver's own log."""
        return f"KeptWithItsLinks({self._by_chance.get_description()})"


def provider_of(settings: Settings, process: str, counter: Counter, timeout_seconds: float) -> TracerProvider:
    """A provider for one process; what a caller has decided of its trace goes before the ratio of the settings."""
    headers = {} if settings.otlp_headers is None else _headers(settings.otlp_headers.get_secret_value())
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint}/v1/traces", headers=headers, timeout=timeout_seconds)
    provider = TracerProvider(
        sampler=ParentBased(KeptWithItsLinks(settings.trace_ratio)),
        resource=Resource.create({"service.name": f"readside-{process}", "service.version": version("readside")}),
        shutdown_on_exit=False,  # the process does so itself, at its end and not after it
    )
    provider.add_span_processor(Counting(counter))
    provider.add_span_processor(
        BatchSpanProcessor(
            Counted(exporter, counter),
            max_queue_size=_MOST_WAITING,
            schedule_delay_millis=_EVERY_MS,
            max_export_batch_size=_MOST_AT_ONCE,
        )
    )
    return provider


def _headers(told: str) -> dict[str, str]:
    return {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in told.split(","))}
