"""One row: its values in full, links to the rows that it refers to and to those that refer to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.admin.html import Html, element
from svc_infra.api.fastapi.admin.layout import Layout
from svc_infra.api.fastapi.admin.resources import AdminResource
from svc_infra.api.fastapi.admin.values import LONG, key_text, number_text, shown_value
from svc_infra.api.fastapi.db.sql.state import get_database

__all__ = ["record_page", "value_page"]


async def record_page(
    request: Request, layout: Layout, resource: AdminResource, tenant: object, statement_timeout_ms: int
) -> Response:
    """Return the page of the row whose id the query string gives as `key`, several times for a composite one.

    Raises:
        HTTPException: 404 when there is no such row, or none that the caller may see.
        TenantMissing: The resource has tenants and the caller has none.
        SqlError: The database failed or took too long.
    """
    key, values = await _read(request, resource, tenant, statement_timeout_ms)
    links = resource.links_of(values, layout.resources)
    entries = [_entry(request, layout, resource, key, name, values[name], links.get(name)) for name in resource.names]
    referring = [
        element("li", element("a", title, href=layout.href(request, path), class_="button"))
        for title, path in resource.referring(values, layout.resources)
    ]
    return layout.page(
        request,
        _title(resource, key),
        element("dl", entries, class_="record"),
        [element("h2", "Rows that refer to this one"), element("ul", referring, class_="links")] if referring else None,
        note=f"A row of {resource.title}.",
        trail=[("Overview", ""), (resource.title, resource.rows_path())],
        current=resource,
    )


async def value_page(
    request: Request, layout: Layout, resource: AdminResource, tenant: object, statement_timeout_ms: int
) -> Response:
    """Return the page of one value of a row, in full: `key` as in `record_page`, and `field`.

    Raises:
        HTTPException: 404 when there is no such row or no such field to be seen.
        TenantMissing: The resource has tenants and the caller has none.
        SqlError: The database failed or took too long.
    """
    name = request.query_params.get("field", "")
    if name not in resource.names:
        raise HTTPException(404, "There is no such field.")
    key, values = await _read(request, resource, tenant, statement_timeout_ms)
    shown = shown_value(values[name])
    return layout.page(
        request,
        name,
        element("pre", shown.text, class_=f"long whole {shown.kind}", tabindex=0),
        note=f"{number_text(len(shown.text))} characters.",
        trail=[
            ("Overview", ""),
            (resource.title, resource.rows_path()),
            (_title(resource, key), resource.record_path(key)),
        ],
        current=resource,
    )


async def _read(
    request: Request, resource: AdminResource, tenant: object, statement_timeout_ms: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    rows = resource.rows(tenant)
    key = resource.parse_key(request.query_params.getlist("key")) if resource.has_record_pages else None
    if key is None:
        raise HTTPException(404, "There is no such row.")
    database = get_database(request.app, resource.database)
    async with database.session(readonly=True, statement_timeout_ms=statement_timeout_ms) as session:
        row = await rows.get(session, key)
    if row is None:
        raise HTTPException(404, "There is no such row.")
    return resource.split(row)


def _title(resource: AdminResource, key: Sequence[Any]) -> str:
    text = f"{resource.binding.resource.model.__name__} {', '.join(key_text(part) for part in key)}"
    return text if len(text) <= 120 else text[:120] + "\N{HORIZONTAL ELLIPSIS}"


def _entry(
    request: Request,
    layout: Layout,
    resource: AdminResource,
    key: Sequence[Any],
    name: str,
    value: object,
    link: str | None,
) -> Html:
    column, shown = resource.binding.columns[name], shown_value(value)
    content: list[Html] = []
    if shown.kind == "null":
        content.append(element("span", "null", class_="null"))
    elif not shown.text:
        content.append(element("span", "empty", class_="null"))
    elif link is not None:
        content.append(element("a", element("bdi", shown.text[:LONG]), href=layout.href(request, link)))
    else:
        is_scrolled = len(shown.text) > LONG // 4 or shown.text.count("\n") > 16
        label = f"Value of {name}" if is_scrolled else None
        pre = element(
            "pre", shown.text[:LONG], class_=f"long {shown.kind}", tabindex=0 if is_scrolled else None,
            role="region" if is_scrolled else None, aria_label=label,
        )  # fmt: skip
        content.append(pre)
    if len(shown.text) > LONG:
        query = urlencode([*(("key", key_text(part)) for part in key), ("field", name)])
        path = layout.href(request, f"/resources/{resource.slug}/value?{query}")
        text = f"Show all {number_text(len(shown.text))} characters of {name}"
        content.append(element("p", element("a", text, href=path)))
    kind = str(column.column.type.__visit_name__).lower()
    return element("div", element("dt", name, element("small", kind)), element("dd", content))
