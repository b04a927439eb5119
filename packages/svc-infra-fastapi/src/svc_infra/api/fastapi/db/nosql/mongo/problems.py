"""MongoDB's errors as problem details, with the types and status codes of the SQL ones."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from fastapi import FastAPI
from svc_infra.api.fastapi.problems import NOT_FOUND, FieldError, Problem, handle_database_errors, problem_response
from svc_infra.db.nosql.mongo import errors as mongo
from svc_infra.db.nosql.mongo.translate import translate

__all__ = ["handle_mongo_errors", "mongo_problem_of"]

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

_RETRY: Final = {"Retry-After": "1"}
_PROBLEMS: Final[Mapping[type[mongo.MongoError], Problem]] = {
    mongo.NotFound: NOT_FOUND,
    mongo.StaleVersion: Problem("stale-version", 409, "The record was changed in the meantime. Read it again."),
    mongo.UnknownField: Problem("unknown-field", 422, "A field is not known here."),
    mongo.DocumentTooLarge: Problem("content-too-large", 413, "The record is larger than the database takes."),
    mongo.InvalidValue: Problem("invalid-value", 422, "A value can't be stored in its field."),
    mongo.InvalidQuery: Problem("invalid-query", 422, "The request can't be turned into a query."),
    mongo.UniqueViolation: Problem("unique-violation", 409, "Record already exists."),
    mongo.DocumentRejected: Problem("check-violation", 422, "A value breaks a rule of the database."),
    mongo.MongoUnreachable: Problem("database-unavailable", 503, "The database can't be reached.", headers=_RETRY),
    mongo.LockTimeout: Problem("lock-timeout", 503, "The database is being prepared. Try again.", headers=_RETRY),
    mongo.MongoError: Problem("internal-error", 500, "The request could not be completed."),
}


def mongo_problem_of(error: Exception) -> Problem | None:
    """Return the problem that *error* stands for, or None when it is none of MongoDB's."""
    found = error if isinstance(error, mongo.MongoError) else translate(error)
    if found is None:
        return None
    problem = next(_PROBLEMS[cls] for cls in type(found).__mro__ if cls in _PROBLEMS)
    if isinstance(found, mongo.UniqueViolation) and found.fields:
        texts: list[FieldError] = [
            {"loc": ["body", name], "msg": "Another record has this value", "type": "unique"} for name in found.fields
        ]
        return replace(problem, errors=texts)
    if isinstance(found, mongo.InvalidQuery):
        # The text is for the application's author: it lists fields, hidden ones among them.
        logger.info("%s: %s", type(found).__name__, found)
    elif problem.status >= 500:
        logger.warning("%s: %s", type(found).__name__, found)
    return problem


def handle_mongo_errors(app: FastAPI) -> None:
    """Answer MongoDB's errors of all routes as problems; a handler that is already there stays."""
    from pymongo.errors import PyMongoError

    async def answer(_request: Request, error: Exception) -> Response:
        problem = mongo_problem_of(error)
        if problem is None:
            raise error
        return problem_response(problem)

    handle_database_errors(app)
    for cls in (mongo.MongoError, PyMongoError):
        app.exception_handlers.setdefault(cls, answer)
