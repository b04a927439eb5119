"""What an application's resources are called in the OpenAPI document.

The schemas of a resource are called by its model, `User`, which gives `UserRead`, `UserCreate` and so on; those of a
further resource of a model of that name by its prefix, `/admin/users`, which gives `AdminUsersRead`. Operations are
called by the prefix, `admin_users_list`. So each has a name of its own that a client's code can be written against, and
a resource that is added after the others renames nothing.
"""

from __future__ import annotations

import re

from fastapi import FastAPI

__all__ = ["claim_noun", "claim_slug", "noun_of"]

_ATTRIBUTE = "svc_infra_nouns"


def noun_of(path: str) -> str:
    """Return the words of a path as one.

    >>> noun_of("/api/v1/short-items")
    'ApiV1ShortItems'
    """
    return "".join(word[:1].upper() + word[1:] for word in re.findall(r"[^\W_]+", path))


def claim_noun(app: FastAPI, model: type[object], prefix: str) -> str:
    """Return what the names of the schemas of a resource begin with; no other resource of *app* has it."""
    return _claim(app, model.__name__, noun_of(prefix) or model.__name__)


def claim_slug(app: FastAPI, prefix: str) -> str:
    """Return what the names of the operations of a resource begin with; no other resource of *app* has it."""
    return _claim(app, "_".join(part.replace("-", "_") for part in prefix.strip("/").split("/")))


def _claim(app: FastAPI, *wanted: str) -> str:
    taken: set[str] = getattr(app.state, _ATTRIBUTE, set())
    setattr(app.state, _ATTRIBUTE, taken)
    candidates = (*wanted, *(f"{wanted[-1]}{number}" for number in range(2, len(taken) + 3)))
    found = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(found)
    return found
