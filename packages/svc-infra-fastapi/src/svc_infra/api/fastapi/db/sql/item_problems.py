"""Problems about one item of many: which item, and where in it.

A problem about one record places its errors under `["body", "email"]`; about the record at index 3 of an array it has
to say `["body", 3, "email"]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from svc_infra.api.fastapi.problems import FieldError, Problem, ProblemError, problem_of
from svc_infra.db.sql.errors import SqlError

__all__ = ["CountedRows", "item_at", "item_problem", "located"]


def located(problem: Problem, *place: str | int, name: str = "item") -> Problem:
    """Return *problem* as it is about what stands at *place* within the body.

    Args:
        problem: A problem about one record.
        place: Where the record stands: an index, a name, or several from the outside inwards.
        name: What an index is called in the problem's text.

    Example:
        >>> found = located(Problem("not-found", 404, "Not found"), 3)
        >>> found.detail
        'item 3: Not found'
        >>> found.errors
        [{'loc': ['body', 3], 'msg': 'Not found', 'type': 'not_found'}]
    """
    if problem.errors:
        errors: list[FieldError] = [{**error, "loc": ["body", *place, *error["loc"][1:]]} for error in problem.errors]
    else:
        errors = [{"loc": ["body", *place], "msg": problem.detail, "type": problem.slug.replace("-", "_")}]
    indexes = [number for number, part in enumerate(place) if isinstance(part, int)]
    where = f"{name if indexes[0] == 0 else place[0]} {place[indexes[0]]}: " if indexes else ""
    detail = where + problem.detail
    return replace(problem, detail=detail, errors=errors)


def item_problem(error: Exception) -> Problem:
    """Return the problem of an error that is about an item.

    Raises:
        Exception: *error* itself, when it is about the whole request, such as a lost connection.
    """
    problem = problem_of(error)
    if problem is None or problem.status >= 500:
        raise error
    return problem


@contextmanager
def item_at(*place: str | int | None) -> Iterator[None]:
    """Name *place* in the problem of an error that is about an item; None stands for an item that is not known.

    Raises:
        ProblemError: Instead of an error that is about the item.
    """
    try:
        yield
    except Exception as error:
        problem = item_problem(error)
        known = [part for part in place if part is not None]
        raise ProblemError(located(problem, *known) if known else problem) from error


class CountedRows(Sequence[Mapping[str, object]]):
    """Rows that know which of them was taken last, since the error of a hook does not tell.

    Args:
        items: The rows with their places in the body.
        within: Where in the body the array stands.
        name: What a place is called in the problem's text.
    """

    def __init__(self, items: Sequence[tuple[int, Any]], *, within: tuple[str, ...] = (), name: str = "item") -> None:
        self._items = items
        self._within = within
        self._name = name
        self._current: int | None = None

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: Any) -> Any:
        return self._items[place][1]

    def __iter__(self) -> Iterator[Mapping[str, object]]:
        for place, item in self._items:
            self._current = place
            yield item
        self._current = None

    @contextmanager
    def located(self) -> Iterator[None]:
        """Name the place of the row in the problem of an error that is about it.

        Raises:
            ProblemError: Instead of an error that is about a row.
        """
        try:
            yield
        except Exception as error:
            problem, row = item_problem(error), error.row if isinstance(error, SqlError) else None
            place = self._current if row is None else self._items[row][0]
            raise ProblemError(
                problem if place is None else located(problem, *self._within, place, name=self._name)
            ) from error
