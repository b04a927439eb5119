"""Pool statistics, slow statements, tags, traces and metrics."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import bindparam, event, literal, select, text

from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import UniqueViolation
from svc_infra.db.sql.observability.comments import comment_of, tag_statements
from svc_infra.db.sql.observability.pool import pool_statistics
from svc_infra.db.sql.observability.slow_log import log_slow_statements
from svc_infra.db.sql.observability.tracing import trace_statements


async def run(database: Database, statement: str = "SELECT 1") -> object:
    async with database.session() as session:
        result = await session.execute(text(statement))
        return result.scalar() if result.returns_rows else None


async def test_pool_statistics_tell_used_and_idle_connections(sqlite_url: str) -> None:
    """The numbers follow the sessions."""
    async with Database(sqlite_url, pool_size=3, max_overflow=2) as database:
        assert [(one.used, one.idle, one.size, one.limit) for one in pool_statistics(database)] == [(0, 0, 3, 5)]
        async with database.session() as session:
            await session.execute(text("SELECT 1"))
            assert (pool_statistics(database)[0].used, pool_statistics(database)[0].idle) == (1, 0)
        assert (pool_statistics(database)[0].used, pool_statistics(database)[0].idle) == (0, 1)


async def test_a_slow_statement_is_logged_without_its_parameters(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Statements from the threshold on are logged, with placeholders; quicker ones and detached logs are silent."""
    caplog.set_level(logging.WARNING, "svc_infra.db.sql.slow")
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 0.25
        return now

    async with Database(sqlite_url) as database:
        detach = log_slow_statements(database, threshold_ms=200, clock=clock)
        quick = log_slow_statements(database, threshold_ms=300, clock=clock)
        async with database.session() as session:
            await session.execute(select(bindparam("word", "hunter2")))
        detach()
        quick()
        quick()
        records = [record for record in caplog.records if "SELECT" in record.getMessage()]
        assert len(records) >= 1
        assert "hunter2" not in caplog.text
        assert records[0].duration_ms >= 200  # type: ignore[attr-defined]
        caplog.clear()
        await run(database)
        assert caplog.records == []


async def test_a_failed_statement_is_logged_as_failed(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A statement that was slow and failed is logged as such."""
    async with Database(sqlite_url) as database:
        log_slow_statements(database, threshold_ms=0)
        with pytest.raises(Exception, match="nowhere"):
            await run(database, "SELECT * FROM nowhere")
    assert any(getattr(record, "failed", False) for record in caplog.records)


@pytest.mark.parametrize("driver", ["postgresql+asyncpg", "postgresql+psycopg", "mysql+asyncmy"])
async def test_statements_carry_their_tags(request: pytest.FixtureRequest, driver: str) -> None:
    """The server sees the comment, and parameters and per cent signs still work."""
    url: str = request.getfixturevalue("postgres_url" if driver.startswith("postgres") else "mysql_url")
    async with Database(driver + url[url.index("://") :]) as database:
        seen: list[str] = []
        detach = tag_statements(database, lambda: {"route": "/a b/{id}", "app": "it's*/ 100%"})
        event.listen(database.engine.sync_engine, "after_cursor_execute", lambda *arguments: seen.append(arguments[2]))
        async with database.session() as session:
            statement = select(literal("5%"), bindparam("word", "x"))
            assert tuple((await session.execute(statement)).one()) == ("5%", "x")
        detach()
        await run(database)
    assert "/*app='it%" in seen[-2]
    assert "*/ 100" not in seen[-2]
    assert "/*" not in seen[-1]


def test_a_tag_can_not_become_sql() -> None:
    """Quotes and the end of a comment are encoded; keys are in order."""
    assert comment_of({"b": "*/; DROP TABLE x; --", "a": "'"}) == (
        "/*a='%27',b='%2A%2F%3B%20DROP%20TABLE%20x%3B%20--'*/"
    )
    assert comment_of({}) == ""


async def test_statements_are_traced_and_measured(sqlite_url: str) -> None:
    """Each statement is a client span under the current one, with error types, and a measured duration."""
    exporter = InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    async with Database(sqlite_url) as database:
        detach = trace_statements(database, tracer_provider=tracers, meter_provider=meters)
        await run(database, "CREATE TABLE notes (id INTEGER PRIMARY KEY)")
        with tracers.get_tracer("test").start_as_current_span("parent") as parent:
            await run(database, "INSERT INTO notes VALUES (1)")
        with pytest.raises(UniqueViolation):
            await run(database, "INSERT INTO notes VALUES (1)")
        data = reader.get_metrics_data()
        assert data is not None
        names = {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }
        detach()
        await run(database)
    spans = [span for span in exporter.get_finished_spans() if span.name.startswith("INSERT")]
    good, bad = spans
    assert good.parent is not None
    assert good.parent.span_id == parent.get_span_context().span_id
    assert good.attributes is not None
    assert good.attributes["db.system.name"] == "sqlite"
    assert good.attributes["db.query.text"] == "INSERT INTO notes VALUES (1)"
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "UniqueViolation"
    assert not any("SELECT" in span.name for span in exporter.get_finished_spans())
    assert {"db.client.operation.duration", "db.client.connection.count", "db.client.connection.max"} <= set(names)
    meters.shutdown()


async def test_nothing_is_listened_to_unless_asked(sqlite_url: str) -> None:
    """Off costs nothing: no listener runs for a statement of a database without limits."""
    async with Database(sqlite_url, environ={}) as database:
        await run(database)
        dispatch = database.engine.sync_engine.dispatch
        assert list(dispatch.before_cursor_execute) == []
        assert list(dispatch.after_cursor_execute) == []
