"""The first page: the resources with their sizes, the databases with their health, pools and migrations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.admin.html import Html, element
from svc_infra.api.fastapi.admin.layout import Layout
from svc_infra.api.fastapi.admin.mongo import MongoStatus, mongo_statuses
from svc_infra.api.fastapi.admin.resources import AdminResource
from svc_infra.api.fastapi.admin.status import (
    DatabaseStatus,
    ExpectedRevisions,
    Migrations,
    PoolStatus,
    count_rows,
    database_status,
    declared_databases,
)

__all__ = ["overview_page"]


async def overview_page(
    request: Request,
    layout: Layout,
    tenant_of: Callable[[AdminResource], Awaitable[object]],
    expected: ExpectedRevisions | None,
    statement_timeout_ms: int,
) -> Response:
    """Return the page; what does not answer in time is shown as such."""
    app = request.app
    names = declared_databases(app)
    statuses, deployments = await asyncio.gather(
        asyncio.gather(*(database_status(app, name, expected, statement_timeout_ms) for name in names)),
        mongo_statuses(app),
    )
    answering = {status.name for status in statuses if status.problem is None}
    counted = (each for each in layout.resources if each.is_browsable and each.database in answering)
    counts = await count_rows(app, counted, tenant_of, statement_timeout_ms)
    cards = [*(_database_card(status, expected is not None) for status in statuses), *map(_mongo_card, deployments)]
    is_well = all(status.problem is None for status in statuses) and all(each.problem is None for each in deployments)
    if not cards:
        note = "This application has no database."
    else:
        note = "Every database answers." if is_well else "Not every database answers."
    return layout.page(
        request,
        "Overview",
        element("h2", "Databases") if cards else None,
        element("div", cards, class_="cards") if cards else None,
        element("h2", "Resources"),
        _resource_table(request, layout, layout.resources, counts, several=len(names) > 1),
        note=note,
    )


def _badge(text: str, kind: str) -> Html:
    return element("span", text, class_=f"badge {kind}")


def _pair(name: str, value: str | Html) -> tuple[Html, Html]:
    return element("dt", name), element("dd", value)


def _database_card(status: DatabaseStatus, is_expected_known: bool) -> Html:
    is_up = status.problem is None
    pairs = [_pair("Driver", status.kind)]
    pairs.append(_pair("Answers in", "-" if status.milliseconds is None else f"{status.milliseconds:.1f} ms"))
    if is_up:
        pairs.extend(_migration_pairs(status.migrations, is_expected_known))
    for number, pool in enumerate(status.pools):
        pairs.extend(_pool_pairs(pool, "Server" if number == 0 else "Replica"))
    return element(
        "section",
        element(
            "div",
            element("h3", f"Database {status.name}"),
            _badge("Healthy" if is_up else "Down", "good" if is_up else "bad"),
            class_="head",
        ),
        None if is_up else element("p", f"The database {status.problem}." if status.problem else None),
        element("dl", pairs, class_="pairs"),
        [_meter(pool) for pool in status.pools],
        class_="card",
    )


def _migration_pairs(found: Migrations, is_expected_known: bool) -> list[tuple[Html, Html]]:
    if found.current is None and not is_expected_known:
        return [_pair("Migrations", "no Alembic table")]
    current = ", ".join(found.current or ()) or "none"
    if found.problem is not None:
        state = _badge(found.problem, "warn")
    elif found.expected is None:
        return [_pair("Revision", current)]
    else:
        state = _badge("pending", "warn") if found.is_pending else _badge("up to date", "good")
    pairs = [_pair("Revision", current), _pair("Migrations", state)]
    if found.is_pending:
        pairs.insert(1, _pair("Code needs", ", ".join(found.expected or ()) or "none"))
    return pairs


def _pool_pairs(pool: PoolStatus, role: str) -> list[tuple[Html, Html]]:
    pairs = [_pair(role, pool.server)]
    if pool.limit is not None:
        pairs.append(_pair("Connections in use", f"{pool.in_use} of {pool.limit}"))
        pairs.append(_pair("Connections idle", str(pool.idle)))
    return pairs


def _meter(pool: PoolStatus) -> Html | None:
    if pool.limit is None:
        return None
    label = f"Connections in use at {pool.server}"
    return element(
        "meter", min=0, max=pool.limit, value=pool.in_use, low=pool.limit * 7 // 10, high=pool.limit * 9 // 10,
        optimum=0, aria_label=label,
    )  # fmt: skip


def _mongo_card(status: MongoStatus) -> Html:
    is_up = status.problem is None
    return element(
        "section",
        element(
            "div",
            element("h3", f"MongoDB {status.name}"),
            _badge("Healthy" if is_up else "Down", "good" if is_up else "bad"),
            class_="head",
        ),
        None if is_up else element("p", f"MongoDB {status.problem}."),
        element(
            "dl",
            _pair("Answers in", "-" if status.milliseconds is None else f"{status.milliseconds:.1f} ms"),
            class_="pairs",
        ),
        class_="card",
    )


def _resource_table(
    request: Request, layout: Layout, resources: Sequence[AdminResource], counts: dict[str, str], *, several: bool
) -> Html:
    if not resources:
        return element(
            "div",
            element("strong", "No resources"),
            "Resources of setup_sql appear here.",
            class_="empty",
        )
    rows = [
        element(
            "tr",
            element(
                "th",
                element("a", each.title, href=layout.href(request, each.rows_path()))
                if each.is_browsable
                else each.title,
                scope="row",
            ),
            element("td", each.binding.resource.model.__name__),
            element("td", each.database) if several else None,
            element("td", counts.get(each.slug, "-") if each.is_browsable else "has reads of its own", class_="end"),
        )
        for each in resources
    ]
    head = [element("th", "Resource", scope="col"), element("th", "Model", scope="col")]
    if several:
        head.append(element("th", "Database", scope="col"))
    head.append(element("th", "Rows", scope="col", class_="end"))
    table = element("table", element("thead", element("tr", head)), element("tbody", rows))
    return element("div", table, class_="scroll", role="region", aria_label="Resources", tabindex=0)
