"""What the daemon counts; names and units by Prometheus' conventions."""

from prometheus_client import Counter, Gauge, Histogram

SEQUENCED = Counter("readside_events_sequenced_total", "Events moved from the outbox to the log")
HEAD = Gauge("readside_log_head_position", "Position of the last event in the log")
POSITION = Gauge("readside_projection_position", "Position up to which a projection has come", ["projection"])
LAG = Gauge("readside_projection_lag_events", "Events in the log that a projection has not applied", ["projection"])
PARKED = Gauge("readside_projection_parked_sequences", "Aggregates that wait as dead letters", ["projection"])
APPLIED = Counter("readside_projection_events_total", "Events that a projection has gone past", ["projection"])
RETRIES = Counter("readside_projection_retries_total", "Batches given up and begun again", ["projection", "reason"])
UNKNOWN = Counter("readside_events_unknown_total", "Events of a type that this version does not know", ["event_type"])
BATCH = Histogram(
    "readside_projection_batch_events",
    "Events in one transaction of a projection",
    ["projection"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000),
)
VISIBLE = Histogram(
    "readside_commit_to_visible_seconds",
    "From an event's recording in Postgres to its effect in a view, per batch: its oldest event",
    ["projection"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600),
)
DRIFT = Gauge(
    "readside_drift_documents",
    "Documents that the sampling audit found to differ from the log, and that still did when it last looked",
    ["projection"],
)
AUDITED = Counter("readside_audited_documents_total", "Documents that the sampling audit has compared", ["projection"])
RECONCILED = Gauge(
    "readside_reconciliation_difference",
    "What a total of the sales statistics is above the same total by SQL over the orders",
    ["total"],
)
