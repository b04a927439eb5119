"""Proof that the machine of tenants finds a leak: it fails when any part of the repository forgets the tenant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase

from svc_infra.db.sql import bulk, changes, creating, upserting, writing
from svc_infra.db.sql.errors import SqlError
from svc_infra.db.sql.filter_scope import FilterScope
from svc_infra.db.sql.forms import EntityForm
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.visibility import Visibility

from .tenant_machine import run, steps

HUNT = steps(300, 40, phases=[Phase.generate], derandomize=True, database=None, report_multiple_bugs=False)
METHODS = {
    name: owner
    for owner in reversed(SqlRepository.__mro__)
    for name, member in vars(owner).items()
    if not name.startswith("_") and (inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member))
}
"""Every method that sends statements, and the class that has it; a new one is in the hunt by itself."""
# Found within a second; the others take longer and are for the soak run.
QUICK = {"create", "update", "list", "upsert"}


def without_scope(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method as it would be had its author forgotten the tenant."""

    @contextmanager
    def forgetting(repository: Any) -> Iterator[None]:
        kept = {name: getattr(repository, name) for name in ("_plan", "_scope")}
        bare = replace(repository._plan, visibility=replace(repository._plan.visibility, scope_fields=()))
        repository.__dict__.update(_plan=bare, _scope={})
        try:
            yield
        finally:
            repository.__dict__.update(kept)

    async def mutated(self: Any, *arguments: Any, **named: Any) -> Any:
        with forgetting(self):
            return await method(self, *arguments, **named)

    async def mutated_stream(self: Any, *arguments: Any, **named: Any) -> Any:
        with forgetting(self):
            async for item in method(self, *arguments, **named):
                yield item

    return mutated_stream if inspect.isasyncgenfunction(method) else mutated


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.soak) for name in sorted(METHODS)]
)
def test_a_method_that_forgets_the_tenant_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine has teeth: it fails when any one method of the repository loses its scope."""
    owner = METHODS[name]
    monkeypatch.setattr(owner, name, without_scope(getattr(owner, name)))
    with pytest.raises((AssertionError, SqlError)):
        run("sqlite://", HUNT)


@pytest.mark.parametrize("name", ["loading", "filter"])
def test_a_relationship_that_forgets_the_tenant_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails, too, when related rows are loaded or looked for beyond the tenant."""
    if name == "loading":
        monkeypatch.setattr(EntityForm, "options", without_within(EntityForm.options))
    else:
        monkeypatch.setattr(FilterScope, "related", without_within(FilterScope.related))
    with pytest.raises((AssertionError, SqlError)):
        run("sqlite://", HUNT)


@pytest.mark.parametrize(
    ("module", "check"),
    [
        (writing, "check_row"),
        (writing, "check_changes"),
        pytest.param(bulk, "check_changes", marks=pytest.mark.soak),
        pytest.param(creating, "first_refused", marks=pytest.mark.soak),
        pytest.param(upserting, "first_refused", marks=pytest.mark.soak),
        pytest.param(changes, "first_refused", marks=pytest.mark.soak),
    ],
)
def test_a_write_that_forgets_where_a_foreign_key_leads_is_found(
    module: ModuleType, check: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails, too, when a kind of write may name another tenant's row."""
    monkeypatch.setattr(module, check, lambda *_, **__: None)
    with pytest.raises(AssertionError):
        run("sqlite://", HUNT)


def without_within(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method with related models confined to live rows only."""

    def mutated(self: Any, *arguments: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            within = Visibility.within
            patch.setattr(Visibility, "within", lambda *given: replace(within(*given), scope_fields=()))
            return method(self, *arguments)

    return mutated


def test_every_method_of_a_repository_is_hunted() -> None:
    """The list above is not empty or cut short by a change of the classes."""
    assert METHODS.keys() >= {"get", "stream", "page", "create_many", "upsert_many", "purge_many", "ids_of", "restore"}
