"""The rows of a resource: a page by key, searched, ordered and filtered within what the resource allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import Integer, Numeric
from starlette.requests import Request
from starlette.responses import Response

from svc_infra.api.fastapi.admin.html import Html, element
from svc_infra.api.fastapi.admin.layout import Layout
from svc_infra.api.fastapi.admin.resources import AdminResource
from svc_infra.api.fastapi.admin.values import short_value
from svc_infra.api.fastapi.db.sql.query import ListQuery
from svc_infra.api.fastapi.db.sql.state import get_database
from svc_infra.api.fastapi.problems import Problem, ProblemError
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.paging import KeysetPage

__all__ = ["rows_page"]

_OWN: Final = frozenset({"q", "order_by", "cursor"})
_NOT_HERE: Final = frozenset({"limit", "offset", "total", "select", "include", "fields"})


@dataclass(frozen=True)
class _Asked:
    """The query string: what the rules of the resource made of it, and its own texts for links."""

    query: ListQuery
    pairs: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, request: Request, resource: AdminResource) -> _Asked:
        pairs = tuple(
            (name, value)
            for name, value in parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=100)
            if name not in _NOT_HERE and not (name in _OWN and not value)
        )
        return cls(resource.binding.rules.parse(urlencode(pairs).encode()), pairs)

    @property
    def conditions(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.pairs if name not in _OWN]

    def text(self, name: str) -> str:
        return next((value for found, value in self.pairs if found == name), "")

    def changed(self, **values: str | None) -> str:
        """Return the query string with other *values*; None leaves one out, and a new order starts over."""
        pairs = [(name, value) for name, value in self.pairs if name not in values and name != "cursor"]
        pairs.extend((name, value) for name, value in values.items() if value)
        return urlencode(pairs)

    def without(self, condition: tuple[str, str]) -> str:
        return urlencode([pair for pair in self.pairs if pair != condition and pair[0] != "cursor"])


async def rows_page(
    request: Request, layout: Layout, resource: AdminResource, tenant: object, page_size: int, statement_timeout_ms: int
) -> Response:
    """Return a page of rows.

    Raises:
        ProblemError: 422 when the query string asks for what the resource does not allow.
        TenantMissing: The resource has tenants and the caller has none.
        SqlError: The database failed or took too long.
    """
    asked = _Asked.of(request, resource)
    query, rows = asked.query, resource.rows(tenant)
    searched: dict[str, Any] = {} if query.q is None else {"q": query.q, "fields": query.fields}
    database = get_database(request.app, resource.database)
    try:
        async with database.session(readonly=True, statement_timeout_ms=statement_timeout_ms) as session:
            page: KeysetPage[Any] = await rows.page(
                session,
                limit=page_size,
                cursor=query.cursor or None,
                order_by=query.order_by or None,
                where=query.where or None,
                **searched,
            )
    except InvalidValue:
        text = "The address names a page of another list, or a damaged one. Start from the first page."
        raise ProblemError(Problem("invalid-request", 422, text)) from None
    has_choice = bool(query.q or query.where)
    return layout.page(
        request,
        resource.title,
        _tools(request, layout, resource, asked),
        _chips(request, layout, resource, asked),
        _table(request, layout, resource, asked, page.items) if page.items else _empty(has_choice=has_choice),
        _pages(request, layout, resource, asked, page),
        note=f"Rows of {resource.binding.resource.model.__name__}, {page_size} a page.",
        trail=[("Overview", "")],
        current=resource,
    )


def _tools(request: Request, layout: Layout, resource: AdminResource, asked: _Asked) -> Html | None:
    rules = resource.binding.rules
    parts: list[Html] = []
    if rules.search_fields:
        hint = "in " + ", ".join(rules.search_fields)
        field = element(
            "input", type="search", name="q", value=asked.text("q"), placeholder=hint, maxlength=256, autocomplete="off"
        )
        parts.append(element("label", "Search", field, class_="wide"))
    if rules.order_fields:
        chosen = asked.text("order_by")
        usual = ", ".join(rules.order_default) or "by key"
        options = [element("option", f"As usual ({usual})", value="")]
        names = [sign + name for name in rules.order_fields for sign in ("", "-")]
        if chosen and chosen not in names:
            names.append(chosen)
        options.extend(element("option", _order_text(name), value=name, selected=name == chosen) for name in names)
        parts.append(element("label", "Order", element("select", options, name="order_by")))
    if not parts:
        return None
    parts.append(element("button", "Show", type="submit"))
    hidden = [element("input", type="hidden", name=name, value=value) for name, value in asked.conditions]
    path = layout.href(request, resource.rows_path())
    return element("form", hidden, parts, method="get", action=path, class_="tools", role="search")


def _order_text(term: str) -> str:
    names = [f"{part[1:]}, descending" if part.startswith("-") else part for part in term.split(",")]
    return " then ".join(names)


def _chips(request: Request, layout: Layout, resource: AdminResource, asked: _Asked) -> Html | None:
    chips = [
        element(
            "li",
            f"{name} is {value or 'empty'}",
            element(
                "a",
                "Remove",
                href=_address(request, layout, resource, asked.without((name, value))),
                aria_label=f"Remove the condition on {name}",
            ),
        )
        for name, value in asked.conditions
    ]
    return element("ul", chips, class_="chips", aria_label="Conditions") if chips else None


def _address(request: Request, layout: Layout, resource: AdminResource, query: str) -> str:
    return layout.href(request, resource.rows_path()) + (f"?{query}" if query else "")


def _table(
    request: Request, layout: Layout, resource: AdminResource, asked: _Asked, items: Sequence[Sequence[Any]]
) -> Html:
    head = [_head_cell(request, layout, resource, asked, name) for name in resource.listed]
    body = [element("tr", _cells(request, layout, resource, item)) for item in items]
    table = element("table", element("thead", element("tr", head)), element("tbody", body), class_="rows")
    return element("div", table, class_="scroll", role="region", aria_label=f"Rows of {resource.title}", tabindex=0)


def _alignment(resource: AdminResource, name: str) -> str | None:
    return "end" if isinstance(resource.binding.columns[name].column.type, Integer | Numeric) else None


def _head_cell(request: Request, layout: Layout, resource: AdminResource, asked: _Asked, name: str) -> Html:
    first = (asked.query.order_by or ("",))[0]
    direction = {name: "ascending", f"-{name}": "descending"}.get(first)
    if name not in resource.binding.rules.order_fields:
        return element("th", name, scope="col", class_=_alignment(resource, name))
    arrow = {"ascending": " \N{UPWARDS ARROW}", "descending": " \N{DOWNWARDS ARROW}"}.get(direction or "")
    query = asked.changed(order_by=f"-{name}" if first == name else name)
    link = element(
        "a", name, element("span", arrow, aria_hidden="true") if arrow else None,
        href=_address(request, layout, resource, query),
    )  # fmt: skip
    return element("th", link, scope="col", aria_sort=direction, class_=_alignment(resource, name))


def _cells(request: Request, layout: Layout, resource: AdminResource, item: Sequence[Any]) -> Iterable[Html]:
    key, values = resource.split(item)
    path = layout.href(request, resource.record_path(key)) if resource.has_record_pages else None
    for position, name in enumerate(resource.listed):
        shown = short_value(values[name])
        if position == 0:
            yield element("th", element("a", shown, href=path) if path else shown, scope="row")
        else:
            yield element("td", shown, class_=_alignment(resource, name))


def _empty(*, has_choice: bool) -> Html:
    if has_choice:
        text = ("No rows match", "Change the search or remove a condition.")
    else:
        text = ("No rows", "The table has none that you may see.")
    return element("div", element("strong", text[0]), text[1], class_="empty")


def _pages(
    request: Request, layout: Layout, resource: AdminResource, asked: _Asked, page: KeysetPage[Any]
) -> Html | None:
    ways = [("Previous", page.previous_cursor, "prev"), ("Next", page.next_cursor, "next")]
    links = [
        element(
            "a",
            text,
            href=_address(request, layout, resource, asked.changed(cursor=cursor)),
            rel=relation,
            class_="button",
        )
        for text, cursor, relation in ways
        if cursor
    ]
    return element("nav", links, class_="pages", aria_label="Pages of rows") if links else None
