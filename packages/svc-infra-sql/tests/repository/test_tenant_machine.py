"""Many tenants at random, by every method, against a model of what each may see; and proof that a leak is found."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import DateTime, String, UniqueConstraint
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Mapped, mapped_column

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.errors import SqlError, UniqueViolation
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.statements import Statements
from svc_infra.db.sql.tenant import TenantSqlService
from svc_infra.db.sql.upserting import Upserting


class Doc(ModelBase):
    __tablename__ = "machine_docs"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[int]
    slug: Mapped[str] = mapped_column(String(5))
    body: Mapped[str | None] = mapped_column(String(20))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    __table_args__ = (UniqueConstraint("tenant_id", "slug"),)


TENANTS = st.integers(1, 3)
IDS = st.integers(1, 8)
SLUGS = st.sampled_from("pqrs")
BODIES = st.sampled_from(["a", "b%", "c_"])


class TenantMachine(RuleBasedStateMachine):
    """The model: each row's tenant, slug, body and whether it is deleted."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.repo = SqlRepository(Doc, soft_delete=True)
        self.rows: dict[int, dict[str, Any]] = {}
        self.do(self.open())

    async def open(self) -> None:
        self.engine = create_async_engine("sqlite+aiosqlite://")
        async with self.engine.begin() as connection:
            await connection.run_sync(Doc.__table__.create)
        self.session = AsyncSession(self.engine, expire_on_commit=False)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.session.close())
        self.do(self.engine.dispose())
        self.runner.close()

    def service(self, tenant: int) -> TenantSqlService[Doc]:
        return TenantSqlService(self.repo, tenant_id=tenant)

    def seen(self, tenant: int, *, deleted: bool = False) -> dict[int, dict[str, Any]]:
        return {key: row for key, row in self.rows.items() if row["tenant"] == tenant and row["deleted"] is deleted}

    def taken(self, key: int, tenant: int, slug: str) -> bool:
        return key in self.rows or any(r["tenant"] == tenant and r["slug"] == slug for r in self.rows.values())

    @rule(tenant=TENANTS, other=TENANTS, key=IDS, slug=SLUGS, body=BODIES, how=st.sampled_from(["one", "many", "rows"]))
    def create(self, tenant: int, other: int, key: int, slug: str, body: str, how: str) -> None:
        service, data = self.service(tenant), {"id": key, "slug": slug, "body": body, "tenant_id": other}
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "one": lambda: service.create(self.session, data),
            "many": lambda: service.create_many(self.session, [data, {**data, "id": key + 100, "slug": slug * 2}]),
            "rows": lambda: service.repo.rows.create(self.session, data),
        }
        more = how == "many" and self.taken(key + 100, tenant, slug * 2)
        if self.taken(key, tenant, slug) or more:
            try:
                self.do(calls[how]())
            except UniqueViolation:
                return
            raise AssertionError("a taken key was given again")
        self.do(calls[how]())
        self.rows[key] = {"tenant": tenant, "slug": slug, "body": body, "deleted": False}
        if how == "many":
            self.rows[key + 100] = {"tenant": tenant, "slug": slug * 2, "body": body, "deleted": False}

    @rule(tenant=TENANTS, key=IDS, slug=SLUGS, body=BODIES, on=st.sampled_from(["id", "slug"]))
    def upsert(self, tenant: int, key: int, slug: str, body: str, on: str) -> None:
        service = self.service(tenant)
        data: dict[str, object] = {"id": key, "slug": slug, "body": body}
        seen = self.seen(tenant)
        if on == "id":
            hit = seen.get(key)
            clash = any(r["tenant"] == tenant and r["slug"] == slug and k != key for k, r in self.rows.items())
            fits = not clash and (hit is not None or key not in self.rows)
        else:
            owner = next((k for k, r in self.rows.items() if r["tenant"] == tenant and r["slug"] == slug), None)
            hit = seen.get(owner) if owner is not None else None
            fits = hit is not None or (owner is None and key not in self.rows)
            if hit is not None and owner != key and key in self.rows:
                fits = False
        if hit is not None and on == "slug":
            data["id"] = key = next(k for k, r in seen.items() if r is hit)
            fits = True
        try:
            self.do(service.upsert(self.session, data, on=on))
        except UniqueViolation:
            assert not fits
            return
        assert fits
        self.rows[key] = {"tenant": tenant, "slug": slug, "body": body, "deleted": False}

    @rule(tenant=TENANTS, other=TENANTS, key=IDS, body=BODIES, form=st.sampled_from(["objects", "rows"]))
    def update(self, tenant: int, other: int, key: int, body: str, form: str) -> None:
        service = self.service(tenant)
        data = {"body": body, "tenant_id": other, "id": 99}
        target: Any = service if form == "objects" else service.repo.rows
        found = self.do(target.update(self.session, key, data))
        assert (found is not None) is (key in self.seen(tenant))
        if found is not None:
            self.rows[key]["body"] = body

    @rule(tenant=TENANTS, key=IDS, body=BODIES, by=st.sampled_from(["all", "ids", "where"]))
    def update_many(self, tenant: int, key: int, body: str, by: str) -> None:
        chosen: dict[str, Any] = {"all": {"where": []}, "ids": {"ids": [key]}, "where": {"where": field("id").le(key)}}
        number = self.do(self.service(tenant).update_many(self.session, {"body": body, "tenant_id": 9}, **chosen[by]))
        hit = [k for k in self.seen(tenant) if by == "all" or k == key or (by == "where" and k <= key)]
        assert number == len(hit)
        for each in hit:
            self.rows[each]["body"] = body

    @rule(tenant=TENANTS, key=IDS, how=st.sampled_from(["delete", "restore", "purge"]), many=st.booleans())
    def remove(self, tenant: int, key: int, how: str, many: bool) -> None:
        service = self.service(tenant)
        hit = key in self.seen(tenant, deleted=how == "restore")
        if how == "purge":
            hit = key in self.seen(tenant) or key in self.seen(tenant, deleted=True)
        if many:
            more = {"deleted": "include"} if how == "purge" else {}
            number = self.do(getattr(service, f"{how}_many")(self.session, where=field("id").eq(key), **more))
        else:
            number = int(self.do(getattr(service, how)(self.session, key)) not in (None, False))
        assert number == int(hit)
        if hit and how == "purge":
            del self.rows[key]
        elif hit:
            self.rows[key]["deleted"] = how == "delete"

    @rule(tenant=TENANTS, key=IDS, form=st.sampled_from(["objects", "rows"]))
    def read_one(self, tenant: int, key: int, form: str) -> None:
        service, seen = self.service(tenant), self.seen(tenant)
        target: Any = service.repo if form == "objects" else service.repo.rows
        found = self.do(target.get(self.session, key))
        assert (found is not None) is (key in seen)
        assert found is None or (found.tenant_id, found.body) == (tenant, seen[key]["body"])
        assert [each.id for each in self.do(target.get_many(self.session, [key, 1, 2]))] == [
            k for k in dict.fromkeys([key, 1, 2]) if k in seen
        ]
        assert self.do(target.exists(self.session, key)) is (key in seen)
        first = self.do(target.first(self.session, order_by="-id"))
        assert (first.id if first is not None else None) == max(seen, default=None)

    @rule(tenant=TENANTS, deleted=st.sampled_from(["exclude", "include", "only"]))
    def read_all(self, tenant: int, deleted: Any) -> None:
        repo = self.service(tenant).repo
        live, gone = self.seen(tenant), self.seen(tenant, deleted=True)
        wanted = sorted({**(live if deleted != "only" else {}), **(gone if deleted != "exclude" else {})})
        asked = {"deleted": deleted}

        async def read() -> None:
            session = self.session
            assert [r.id for r in await repo.list(session, limit=50, **asked)] == wanted
            found, total = await repo.rows.list_and_count(session, limit=2, **asked)
            assert ([r.id for r in found], total) == (wanted[:2], len(wanted))
            assert await repo.count(session, **asked) == len(wanted)
            assert await repo.count(session, at_most=3, **asked) == min(3, len(wanted))
            assert await repo.exists(session, **asked) is bool(wanted)
            assert [r.id async for r in repo.rows.stream(session, order_by="id", **asked)] == wanted
            assert await repo.ids_of(session, where=[], **asked) == wanted
            page = await repo.page(session, limit=2, **asked)
            ids = [r.id for r in page.items]
            while page.next_cursor is not None:
                page = await repo.page(session, limit=2, cursor=page.next_cursor, **asked)
                ids += [r.id for r in page.items]
            assert ids == wanted

        self.do(read())

    @rule(tenant=TENANTS, body=BODIES)
    def search(self, tenant: int, body: str) -> None:
        repo, seen = self.service(tenant).repo, self.seen(tenant)
        wanted = sorted(k for k, r in seen.items() if body in (r["body"] or ""))
        found = self.do(repo.search(self.session, q=body, fields=["body"], limit=50))
        assert [r.id for r in found] == wanted
        assert self.do(repo.count(self.session, q=body, fields=["body"])) == len(wanted)
        filtered = self.do(repo.list(self.session, limit=50, where=field("body").eq(body)))
        assert [r.id for r in filtered] == wanted

    @invariant()
    def nothing_else_has_changed(self) -> None:
        found = self.do(self.repo.rows.list(self.session, limit=100, deleted="include"))
        there = {
            r.id: {"tenant": r.tenant_id, "slug": r.slug, "body": r.body, "deleted": r.deleted_at is not None}
            for r in found
        }
        assert there == self.rows


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
SHORT = settings(max_examples=6, stateful_step_count=25, deadline=None, suppress_health_check=CHECKS)
SOAK = settings(max_examples=400, stateful_step_count=50, deadline=None, suppress_health_check=CHECKS)
HUNT = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=CHECKS,
    phases=[Phase.generate], derandomize=True, database=None, report_multiple_bugs=False,
)  # fmt: skip


def test_no_tenant_ever_sees_or_touches_what_is_another_s() -> None:
    """Random operations of three tenants over colliding ids and slugs agree with the model after every step."""
    run_state_machine_as_test(TenantMachine, settings=SHORT)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_no_tenant_ever_sees_or_touches_what_is_another_s_in_20_000_steps() -> None:
    """The same for 20,000 steps."""
    run_state_machine_as_test(TenantMachine, settings=SOAK)


def unscoped(method: Callable[..., Any], attribute: str) -> Callable[..., Any]:
    """The method with the scope forgotten."""

    def mutated(self: Any, *arguments: Any, **named: Any) -> Any:
        kept = getattr(self, attribute)
        bare = kept.visibility if attribute == "_plan" else kept
        bare = replace(bare, scope_fields=())
        object.__setattr__(self, attribute, replace(kept, visibility=bare) if attribute == "_plan" else bare)
        try:
            return method(self, *arguments, **named)
        finally:
            object.__setattr__(self, attribute, kept)

    return mutated


MUTATIONS = [
    (Statements, name, "_visibility")
    for name in (
        "select_one", "select_ids", "select_many", "select_with_total", "count", "count_some", "exists", "update_one",
        "delete_one", "criteria",
    )
] + [(Upserting, "_visible", "_plan")]  # fmt: skip
# Found within a second; the others take longer and are for the soak run.
QUICK = {"select_many", "update_one", "criteria"}


@pytest.mark.parametrize(
    ("owner", "name", "attribute"),
    [
        pytest.param(*mutation, id=mutation[1], marks=() if mutation[1] in QUICK else pytest.mark.soak)
        for mutation in MUTATIONS
    ],
)
def test_a_statement_that_forgets_the_tenant_is_found(
    owner: type, name: str, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine above has teeth: it fails when any one statement loses its scope."""
    monkeypatch.setattr(owner, name, unscoped(getattr(owner, name), attribute))
    with pytest.raises((AssertionError, SqlError, StopIteration)):
        run_state_machine_as_test(TenantMachine, settings=HUNT)
