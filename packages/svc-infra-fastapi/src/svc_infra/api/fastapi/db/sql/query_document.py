"""The query string of a list route in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from svc_infra.api.fastapi.db.sql.query import (
    MAX_OFFSET,
    MAX_TEXT,
    MAX_VALUES,
    SUFFIXES,
    TEXT_ONLY,
    ListRules,
    QueryField,
    TotalMode,
)

__all__ = ["PAGE_PARAMETERS", "item_parameters", "list_parameters"]

PAGE_PARAMETERS: Final = frozenset({"limit", "offset", "cursor", "total", "q", "fields", "select", "include"})
"""Query parameters of a list that an export has not."""

_DOCUMENTED_SUFFIXES: Final = ("ne", "lt", "lte", "gt", "gte", "in", "contains", "starts_with", "is_null")


def item_parameters(rules: ListRules) -> list[dict[str, Any]]:
    """Return the OpenAPI parameter objects of a route that answers one record."""
    found: list[dict[str, Any]] = []
    if rules.select_fields:
        names = {"type": "string", "enum": list(rules.select_fields)}
        found.append(_list_parameter("select", names, "Fields of the answer; all when absent."))
    if rules.relations:
        relations = {"type": "string", "enum": list(rules.relations)}
        found.append(_list_parameter("include", relations, "Related records to add."))
    return found


def list_parameters(rules: ListRules) -> list[dict[str, Any]]:
    """Return the OpenAPI parameter objects of the list route."""
    order = {sign + name: name + word for name in rules.order_fields for sign, word in (("", ""), ("-", "_desc"))}
    found = [
        _parameter(
            "limit",
            {"type": "integer", "minimum": 1, "maximum": rules.limit_max, "default": rules.limit_default},
            "Rows of a page.",
        ),
        _parameter("offset", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0}, "Rows to skip."),
        _parameter(
            "total",
            {"type": "string", "enum": list(get_args(TotalMode)), "default": rules.total_default},
            "How `total` is found: counted, counted up to a limit, estimated, or not at all (null).",
        ),
    ]
    if rules.has_cursor:
        found.append(
            _parameter(
                "cursor",
                # A name of its own for the form: only texts that this API gave mean something.
                {"type": "string", "format": "cursor"},
                "A page by key: empty for the first, then what `next_cursor` of the last page says, with the same"
                " conditions and order. Excludes `offset`.",
            )
        )
    if order:
        found.append(
            _list_parameter(
                "order_by",
                # The second list is what generators of clients call the members.
                {"type": "string", "enum": list(order), "x-enum-varnames": list(order.values())},
                "Fields to order by; a minus sign for descending.",
            )
        )
    if rules.search_fields:
        found.append(
            _parameter(
                "q",
                {"type": "string", "maxLength": MAX_TEXT, "pattern": "^[^\\u0000]*$"},
                "Text to search for, without regard to case.",
            )
        )
        found.append(
            _list_parameter(
                "fields",
                {"type": "string", "enum": list(rules.search_fields)},
                "Fields to search in; all search fields when absent.",
            )
        )
    found.extend(item_parameters(rules))
    for name in rules.filter_fields:
        found.extend(_filter_parameters(rules, rules.columns[name]))
    return found


def _filter_parameters(rules: ListRules, column: QueryField) -> list[dict[str, Any]]:
    schema = column.describe()
    schema.pop("$defs", None)
    more = (
        ""
        if rules.document_operators
        else f" Also `{column.name}__ne`, `__lt`, `__lte`, `__gt`, `__gte`, `__in`, `__is_null`."
    )
    meaning = f"{column.description} " if column.description else ""
    found = [_parameter(column.name, schema, f"{meaning}Equal to this value.{more}")]
    if not rules.document_operators:
        return found
    for suffix in _DOCUMENTED_SUFFIXES:
        operator = SUFFIXES[suffix]
        if (operator in TEXT_ONLY and not column.is_text) or (operator == "is_null" and not column.is_nullable):
            continue
        name = f"{column.name}__{suffix}"
        if operator == "in":
            found.append(_list_parameter(name, schema, "One of these values."))
        elif operator == "is_null":
            found.append(_parameter(name, {"type": "boolean"}, "Whether there is no value."))
        elif operator in TEXT_ONLY:
            found.append(
                _parameter(
                    name,
                    {"type": "string", "maxLength": MAX_TEXT},
                    f"{operator.replace('_', ' ').capitalize()} this text.",
                )
            )
        else:
            found.append(_parameter(name, schema, _WORDS[operator]))
    return found


_WORDS: Final[Mapping[str, str]] = {
    "ne": "Different from this value.",
    "lt": "Less than this value.",
    "le": "At most this value.",
    "gt": "Greater than this value.",
    "ge": "At least this value.",
}


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _list_parameter(name: str, item: dict[str, Any], description: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": item}
    if "enum" not in item:  # names that repeat mean nothing more, so there is no need to limit them
        schema["maxItems"] = MAX_VALUES
    return {**_parameter(name, schema, description), "style": "form", "explode": False}
