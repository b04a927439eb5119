"""Problems about one item of many: which item, and where in it.

A problem about one record places its errors under `["body", "email"]`; about the record at index 3 of an array it has
to say `["body", 3, "email"]`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from svc_infra.api.fastapi.problems import FieldError, Problem, ProblemError, problem_of

__all__ = ["item_at", "item_problem", "located"]


def located(problem: Problem, *place: str | int) -> Problem:
    """Return *problem* as it is about what stands at *place* within the body.

    >>> found = located(Problem("not-found", 404, "Not found"), 3)
    >>> found.detail, found.errors[0]["loc"]
    ('3: Not found', ['body', 3])
    """
    if problem.errors:
        errors: list[FieldError] = [{**error, "loc": ["body", *place, *error["loc"][1:]]} for error in problem.errors]
    else:
        errors = [{"loc": ["body", *place], "msg": problem.detail, "type": problem.slug.replace("-", "_")}]
    where = ".".join(str(part) for part in place)
    return replace(problem, detail=f"{where}: {problem.detail}", errors=errors)


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
