"""What a scoped row refers to must be visible in the scope, too.

The row that data name is looked for by one statement per operation, or per batch of many rows. A row of another scope,
a soft-deleted one and one that never was are refused by the same statement with the same `ForeignKeyViolation`. What
an update finds in a row and leaves there is not refused. Finding the row of a batch that is refused, or whether an
upsert leaves things as they are, takes further statements.

No statement is sent when the model has no such key (see `svc_infra.db.sql.references`) or the data do not set it. A
value that a column's default gives is the model's own, and is not looked at. A key that is checked at the commit
(DEFERRABLE) must be written after the row that it names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Select, case, exists, func, not_, or_, select
from sqlalchemy import bindparam as bound
from sqlalchemy.sql.elements import ColumnElement

from svc_infra.db.sql.blocks import Block
from svc_infra.db.sql.errors import ForeignKeyViolation
from svc_infra.db.sql.execution import Execution
from svc_infra.db.sql.references import Reference
from svc_infra.db.sql.statements import Selection
from svc_infra.db.sql.values import is_expression

__all__ = ["check_changes", "check_row", "first_refused"]

M = TypeVar("M")

Parts: TypeAlias = tuple[Any, ...]
"""The values of the fields of one reference."""


def check_row(execution: Execution[M], values: Mapping[str, Any]) -> None:
    """Check that a row to insert refers to visible rows only, or to itself.

    Args:
        execution: Where to look.
        values: The row's checked values by field.

    Raises:
        ForeignKeyViolation: When it does not.
    """
    references = execution.plan.references
    if references:
        refused = _refusal(execution, values, {each: {tuple(map(values.get, each.within))} for each in references})
        if refused is not None:
            raise refused.error()


def check_changes(
    execution: Execution[M],
    values: Mapping[str, Any],
    parameters: Mapping[str, Any],
    criteria: Sequence[ColumnElement[Any]] | None = None,
) -> None:
    """Check that rows to update will refer to visible rows only, or to what they refer to already.

    Args:
        execution: Where to look.
        values: The checked values to set, by field.
        parameters: The parameters of the conditions.
        criteria: The conditions that choose the rows; None for those of one row by its id.

    Raises:
        ForeignKeyViolation: When one of the rows does not.
    """
    statements, visibility, columns = execution.statements, execution.plan.visibility, execution.plan.fields.columns
    given: dict[Reference, Parts] = {}
    for reference in execution.plan.references:
        parts = tuple(values.get(name, columns[name]) for name in reference.names)
        if any(name in values for name in reference.names) and all(part is not None for part in parts):
            given[reference] = parts
    if not given:
        return

    def build() -> Select[Any]:
        chosen = [*statements.id_criteria(), *visibility.criteria(statements.column)] if criteria is None else criteria
        numbers: list[ColumnElement[Any]] = []
        for reference, parts in given.items():
            wanted = _clauses(reference, parts)
            changed = [
                or_(column.is_(None), column != value)
                for name, column, value in zip(reference.names, reference.columns, wanted, strict=True)
                if name in values
            ]
            missing = not_(exists().select_from(reference.visible).where(reference.found(wanted)))
            numbers.append(_number(_own_rows(execution), [*chosen, or_(*changed), missing]))
        return _row_of(numbers)

    set_parts = tuple((each.place, *(name for name in each.names if name in values)) for each in given)
    is_kept = criteria is None and not any(map(is_expression, values.values()))
    statement = statements.keep(("references changed", set_parts) if is_kept else None, build)
    found = _fetch(execution, statement, {**parameters, **_parameters(given)})[0]
    for reference, number in zip(given, found, strict=True):
        if number:
            raise reference.error()


def first_refused(
    execution: Execution[M],
    blocks: Sequence[Block],
    *,
    key: Sequence[str] | None = None,
    settable: Collection[str] | None = None,
) -> tuple[int, ForeignKeyViolation] | None:
    """The place and the refusal of the first row of a batch that does not refer to visible rows or to its own.

    Args:
        execution: Where to look.
        blocks: The rows to insert.
        key: The fields of the key by which a visible row is updated instead; None for a mere insert.
        settable: The fields that are set in such a row; None for every field given.
    """
    references = execution.plan.references
    if not references:
        return None
    # An upsert by another key may update a row that has, and keeps, another key than the one given.
    own = {
        each: _values(blocks, each.within)
        for each in references
        if each.within and (key is None or set(each.within) <= set(key))
    }
    rows: Iterable[tuple[int, Mapping[str, Any]]]
    if any(block.has_expressions for block in blocks):
        rows = enumerate(Block.rows(blocks))
    else:
        wanted = {each: values for each in references if (values := _values(blocks, each.names) - own.get(each, set()))}
        if not wanted:
            return None
        missing = {
            each: wanted[each] - _found(execution, each, wanted[each]) for each in _some_missing(execution, wanted)
        }
        rows = _referring(blocks, missing) if any(missing.values()) else ()
    for place, row in rows:
        # What differs for Python may be equal for the database, such as letters of another case: it has the last word.
        refused = _refusal(execution, row, own)
        if refused is not None and not (key and _is_kept(execution, refused, row, key, settable)):
            return place, refused.error()
    return None


def _refusal(
    execution: Execution[M], values: Mapping[str, Any], own: Mapping[Reference, Collection[Parts]]
) -> Reference | None:
    """The first reference of a row to insert that is to no visible row, nor to one of its batch."""
    given: dict[Reference, Parts] = {}
    for reference in execution.plan.references:
        parts = tuple(map(values.get, reference.names))
        if any(part is None for part in parts):
            continue
        if any(map(is_expression, parts)) or parts not in own.get(reference, ()):
            given[reference] = parts
    if not given:
        return None
    is_plain = not any(is_expression(part) for parts in given.values() for part in parts)

    def build() -> Select[Any]:
        numbers: list[ColumnElement[Any]] = []
        for reference, parts in given.items():
            wanted = _clauses(reference, parts)
            number = _number(reference.visible, [reference.found(wanted)])
            numbers.append(number if is_plain else case((or_(*(each.is_(None) for each in wanted)), 1), else_=number))
        return _row_of(numbers)

    shape = ("references", tuple(reference.place for reference in given)) if is_plain else None
    statement = execution.statements.keep(shape, build)
    found = _fetch(execution, statement, {**execution.scope_parameters(), **_parameters(given)})[0]
    return next((each for each, number in zip(given, found, strict=True) if not number), None)


def _is_kept(
    execution: Execution[M],
    reference: Reference,
    values: Mapping[str, Any],
    key: Sequence[str],
    settable: Collection[str] | None,
) -> bool:
    """Whether an upsert updates a visible row and leaves there what it refers to."""
    columns = execution.plan.fields.columns
    kept = execution.plan.immutable_fields
    set_names = (name for name in reference.names if name not in kept and (settable is None or name in settable))
    same = {*key, *set_names}
    criteria = [*execution.statements.criteria(Selection()), *(columns[name] == values[name] for name in same)]
    statement = select(_number(_own_rows(execution), criteria))
    return bool(_fetch(execution, statement, execution.scope_parameters())[0][0])


def _some_missing(execution: Execution[M], wanted: Mapping[Reference, set[Parts]]) -> list[Reference]:
    """The references of which some values are not those of visible rows; one statement, if the lists fit into it."""
    found: list[Reference] = []
    for lists in _fitting(execution, wanted):
        places = tuple(reference.place for reference in lists)

        def build(lists: Mapping[Reference, Any] = lists) -> Select[Any]:
            use_arrays = execution.capabilities.has_arrays
            return _row_of(_number(each.visible, [each.listed(use_arrays=use_arrays)]) for each in lists)

        statement = execution.statements.keep(("references listed", places), build)
        numbers = _fetch(execution, statement, {**execution.scope_parameters(), **_list_parameters(lists)})[0]
        found += [each for (each, values), number in zip(lists.items(), numbers, strict=True) if number != len(values)]
    return found


def _found(execution: Execution[M], reference: Reference, wanted: set[Parts]) -> set[Parts]:
    """Those of the values that a visible row has."""
    found: set[Parts] = set()
    statement = select(reference.visible).where(reference.listed(use_arrays=execution.capabilities.has_arrays))
    for lists in _fitting(execution, {reference: wanted}):
        rows = _fetch(execution, statement, {**execution.scope_parameters(), **_list_parameters(lists)})
        found.update(map(tuple, rows))
    return found


def _fitting(
    execution: Execution[M], wanted: Mapping[Reference, set[Parts]]
) -> Iterator[Mapping[Reference, Sequence[Parts]]]:
    """The lists in portions that one statement takes."""
    most = execution.capabilities.most_listed
    number = sum(len(values) * len(each.names) for each, values in wanted.items())
    if number <= most or (execution.capabilities.has_arrays and all(len(each.names) == 1 for each in wanted)):
        yield {each: list(values) for each, values in wanted.items()}
        return
    for each, values in wanted.items():
        size, portions = most // len(each.names), list(values)
        for start in range(0, len(portions), size):
            yield {each: portions[start : start + size]}


def _list_parameters(lists: Mapping[Reference, Sequence[Parts]]) -> dict[str, Any]:
    return {
        each.list_parameter: [parts[0] for parts in values] if len(each.names) == 1 else values
        for each, values in lists.items()
    }


def _values(blocks: Sequence[Block], names: Sequence[str]) -> set[Parts]:
    """The values that rows have in the fields, expressions and NULL aside."""
    found: set[Parts] = set()
    for block in blocks:
        if all(name in block.names for name in names):
            rows = zip(*map(block.column, names), strict=True)
            found.update(row for row in rows if not block.has_expressions or not any(map(is_expression, row)))
    return {parts for parts in found if None not in parts}


def _referring(
    blocks: Sequence[Block], missing: Mapping[Reference, set[Parts]]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a batch that have one of the values, with their places."""
    for place, row in enumerate(Block.rows(blocks)):
        if any(tuple(map(row.get, each.names)) in values for each, values in missing.items()):
            yield place, row


def _clauses(reference: Reference, parts: Parts) -> list[Any]:
    """The values as expressions: parameters, but for what is an expression itself."""
    return [
        part if is_expression(part) else bound(reference.parameter(place), type_=column.type)
        for place, (part, column) in enumerate(zip(parts, reference.columns, strict=True))
    ]


def _parameters(given: Mapping[Reference, Parts]) -> dict[str, Any]:
    return {
        reference.parameter(place): part
        for reference, parts in given.items()
        for place, part in enumerate(parts)
        if not is_expression(part)
    }


def _number(source: Any, criteria: Sequence[ColumnElement[Any]]) -> ColumnElement[Any]:
    return select(func.count()).select_from(source).where(*criteria).scalar_subquery()


def _row_of(numbers: Iterable[ColumnElement[Any]]) -> Select[Any]:
    return select(*(number.label(f"number_{place}") for place, number in enumerate(numbers)))


def _own_rows(execution: Execution[M]) -> Any:
    return execution.plan.fields.mapper.persist_selectable


def _fetch(execution: Execution[M], statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
    session = execution.session
    if session is not None and not execution.reads_directly and session.autoflush:
        session.flush()
    return execution.fetch(statement, parameters)
