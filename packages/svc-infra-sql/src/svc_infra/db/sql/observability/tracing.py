"""OpenTelemetry spans and metrics of a database; needs the extra `opentelemetry`.

Names follow the semantic conventions for database clients (https://opentelemetry.io/docs/specs/semconv/db/).
"""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from sqlalchemy.engine import ExceptionContext

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.observability.listeners import Detach, attach
from svc_infra.db.sql.observability.pool import PoolStatistics
from svc_infra.db.sql.translate import translate

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
    from opentelemetry.trace import TracerProvider

__all__ = ["trace_statements"]

_SPAN = "_svc_infra_span"
_SYSTEMS = {"mssql": "microsoft.sql_server"}


def trace_statements(
    database: Database,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    with_statements: bool = True,
) -> Detach:
    """Make a span for each statement, and measure durations and pools.

    Spans are children of the current one. Parameters are never recorded.

    Metrics: `db.client.operation.duration` (seconds), `db.client.connection.count` by state and
    `db.client.connection.max`.

    Args:
        database: The database, with its replicas.
        tracer_provider: Where spans go; None for the global provider.
        meter_provider: Where metrics go; None for the global provider.
        with_statements: Whether the text of the statement, with its placeholders, is an attribute of the span.

    Returns:
        A function that ends it.

    Raises:
        ModuleNotFoundError: When OpenTelemetry is not installed; the message names the extra.
    """
    try:
        from opentelemetry import metrics, trace
        from opentelemetry.metrics import Observation
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "OpenTelemetry is not installed: pip install 'svc-infra-sql[opentelemetry]'", name=error.name
        ) from error
    tracer = trace.get_tracer("svc_infra.db.sql", tracer_provider=tracer_provider)
    meter = metrics.get_meter("svc_infra.db.sql", meter_provider=meter_provider)
    durations = meter.create_histogram("db.client.operation.duration", "s", "Duration of database client operations.")
    attributes = {engine.sync_engine: _attributes(engine) for engine in database.all_engines}
    attached = True

    def before(
        connection: Connection, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool
    ) -> None:
        common = attributes.get(connection.engine) or _attributes(connection.engine)
        operation = statement.lstrip().partition(" ")[0].upper()[:20]
        span_attributes = {**common, "db.operation.name": operation}
        if with_statements:
            span_attributes["db.query.text"] = statement
        name = f"{operation} {common['db.namespace']}".strip()
        span = tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=span_attributes)
        setattr(context, _SPAN, (span, perf_counter(), {**common, "db.operation.name": operation}))

    def finish(context: Any, error: BaseException | None = None) -> None:
        started = getattr(context, _SPAN, None)
        if started is None:
            return
        setattr(context, _SPAN, None)
        span, start, measured = started
        if error is not None:
            kind = type(translate(error) or error).__qualname__
            measured["error.type"] = kind
            span.set_attribute("error.type", kind)
            span.set_status(trace.Status(trace.StatusCode.ERROR, kind))
        durations.record(perf_counter() - start, measured)
        span.end()

    def after(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        finish(context)

    def failed(failure: ExceptionContext) -> None:
        finish(failure.execution_context, failure.sqlalchemy_exception or failure.original_exception)

    def count(_options: CallbackOptions) -> Iterable[Observation]:
        for engine in database.all_engines if attached else ():
            pool = PoolStatistics.of(engine)
            name = {"db.client.connection.pool.name": _pool_name(engine)}
            yield Observation(pool.used, {**name, "db.client.connection.state": "used"})
            yield Observation(pool.idle, {**name, "db.client.connection.state": "idle"})

    def limit(_options: CallbackOptions) -> Iterable[Observation]:
        for engine in database.all_engines if attached else ():
            pool = PoolStatistics.of(engine)
            yield Observation(pool.limit, {"db.client.connection.pool.name": _pool_name(engine)})

    meter.create_observable_up_down_counter("db.client.connection.count", [count], "{connection}", "Open connections.")
    meter.create_observable_up_down_counter("db.client.connection.max", [limit], "{connection}", "Most connections.")
    detach_listeners = attach(
        database, {"before_cursor_execute": before, "after_cursor_execute": after, "handle_error": failed}
    )

    def detach() -> None:
        nonlocal attached
        attached = False
        detach_listeners()

    return detach


def _attributes(engine: Any) -> dict[str, str | int]:
    url = engine.url
    backend = url.get_backend_name()
    attributes: dict[str, str | int] = {
        "db.system.name": str(_SYSTEMS.get(backend, backend)),
        "db.namespace": str(url.database or ""),
    }
    if url.host:
        attributes["server.address"] = str(url.host)
    if url.port:
        attributes["server.port"] = int(url.port)
    return attributes


def _pool_name(engine: Any) -> str:
    url = engine.url
    return f"{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database or ''}"
