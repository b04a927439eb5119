"""Many tenants at random, by every method, against a model of what each may see."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import DateTime, ForeignKey, String, UniqueConstraint
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, foreign, mapped_column, relationship, remote

from svc_infra.db.sql.base import ModelBase
from svc_infra.db.sql.changes import Change
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.errors import ForeignKeyViolation, NotFound, UniqueViolation
from svc_infra.db.sql.filters import field
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.tenant import TenantSqlService


class Doc(ModelBase):
    __tablename__ = "machine_docs"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[int]
    slug: Mapped[str] = mapped_column(String(5))
    body: Mapped[str | None] = mapped_column(String(20))
    deleted_at: Mapped[dt.datetime | None] = mapped_column(DateTime)
    # No foreign key: a row may point to one of another tenant, which no relationship may show.
    parent_id: Mapped[int | None]
    children: Mapped[list[Doc]] = relationship(
        primaryjoin=lambda: Doc.id == foreign(remote(Doc.parent_id)), viewonly=True, order_by=lambda: Doc.id
    )
    # A foreign key, by which no row may come to point to one that its tenant does not see.
    link_id: Mapped[int | None] = mapped_column(ForeignKey("machine_docs.id"))
    __table_args__ = (UniqueConstraint("tenant_id", "slug"),)


TENANTS = st.integers(1, 3)
IDS = st.integers(1, 8)
SLUGS = st.sampled_from("pqrs")
LINKS = st.none() | IDS
CREATES = ["one", "many", "sent", "rows"]
BODIES = st.sampled_from(["a", "b%", "c_"])


class TenantMachine(RuleBasedStateMachine):
    """The model: each row's tenant, slug, body and whether it is deleted."""

    url = "sqlite://"

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.repo = SqlRepository(Doc, soft_delete=True)
        self.rows: dict[int, dict[str, Any]] = {}
        self.do(self.open())

    @initialize()
    def fill(self) -> None:
        """Rows of every tenant, one of each deleted and each with a parent of another, so that most steps can harm."""
        for key, slug in enumerate("pqrstu", start=1):
            tenant, parent = key % 3 + 1, key % 6 + 1
            data = {"id": key, "slug": slug, "body": "a", "parent_id": parent}
            self.do(self.service(tenant).create(self.session, data))
            self.write(key, tenant, slug, "a", parent, None)
            if key > 3:
                self.do(self.service(tenant).delete(self.session, key))
                self.rows[key]["deleted"] = True

    async def open(self) -> None:
        self.database = Database(self.url, pool_size=1)
        self.session = AsyncSession(self.database.engine, expire_on_commit=False)
        if self.url == "sqlite://":
            await (await self.session.connection()).run_sync(Doc.__table__.create)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def is_refused(self, work: Coroutine[Any, Any, Any]) -> bool:
        """Do what may find its key taken, in a savepoint: PostgreSQL gives a transaction up at the first error."""

        async def attempt() -> None:
            async with self.session.begin_nested():
                await work

        try:
            self.do(attempt())
        except (UniqueViolation, ForeignKeyViolation):
            return True
        return False

    def may_link(self, tenant: int, link: int | None, *own: int) -> bool:
        return link is None or link in self.seen(tenant) or link in own

    def is_linked(self, key: int) -> bool:
        """Whether the database keeps a row because of links to it; InnoDB counts its own, too."""
        is_innodb = self.url.startswith("mysql")
        return any(row["link"] == key for other, row in self.rows.items() if other != key or is_innodb)

    def teardown(self) -> None:
        self.do(self.session.close())
        self.do(self.database.close())
        self.runner.close()

    def service(self, tenant: int) -> TenantSqlService[Doc]:
        return TenantSqlService(self.repo, tenant_id=tenant)

    def seen(self, tenant: int, *, deleted: bool = False) -> dict[int, dict[str, Any]]:
        return {key: row for key, row in self.rows.items() if row["tenant"] == tenant and row["deleted"] is deleted}

    def taken(self, key: int, tenant: int, slug: str) -> bool:
        return key in self.rows or any(r["tenant"] == tenant and r["slug"] == slug for r in self.rows.values())

    @rule(
        tenant=TENANTS, other=TENANTS, key=IDS, slug=SLUGS, body=BODIES, parent=IDS, link=LINKS,
        how=st.sampled_from(CREATES),
    )  # fmt: skip
    def create(
        self, tenant: int, other: int, key: int, slug: str, body: str, parent: int, link: int | None, how: str
    ) -> None:
        service = self.service(tenant)
        data = {"id": key, "slug": slug, "body": body, "tenant_id": other, "parent_id": parent, "link_id": link}
        second = {**data, "id": key + 100, "slug": slug * 2}
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "one": lambda: service.create(self.session, data),
            "many": lambda: service.create_many(self.session, [data, second]),
            "sent": lambda: service.create_many(self.session, [data, second], returning=False),
            "rows": lambda: service.repo.rows.create(self.session, data),
        }
        written = [data, second] if how in {"many", "sent"} else [data]
        taken = any(self.taken(row["id"], tenant, row["slug"]) for row in written)
        refused = taken or not self.may_link(tenant, link, *(row["id"] for row in written))
        assert self.is_refused(calls[how]()) is refused
        for row in [] if refused else written:
            self.write(row["id"], tenant, row["slug"], body, parent, link)

    def write(self, key: int, tenant: int, slug: str, body: str, parent: int | None, link: int | None) -> None:
        self.rows[key] = {
            "tenant": tenant, "slug": slug, "body": body, "deleted": False, "parent": parent, "link": link,
        }  # fmt: skip

    @rule(
        tenant=TENANTS, key=IDS, slug=SLUGS, body=BODIES, link=LINKS, on=st.sampled_from(["id", "slug"]),
        many=st.booleans(),
    )  # fmt: skip
    def upsert(self, tenant: int, key: int, slug: str, body: str, link: int | None, on: str, many: bool) -> None:
        service = self.service(tenant)
        data: dict[str, object] = {"id": key, "slug": slug, "body": body, "link_id": link}
        seen = self.seen(tenant)
        if on == "id":
            hit = seen.get(key)
            clash = any(r["tenant"] == tenant and r["slug"] == slug and k != key for k, r in self.rows.items())
            fits = not clash and (hit is not None or key not in self.rows)
        else:
            owner = next((k for k, r in self.rows.items() if r["tenant"] == tenant and r["slug"] == slug), None)
            hit = seen.get(owner) if owner is not None else None
            fits = hit is not None or (owner is None and key not in self.rows)
            if hit is not None:
                data["id"] = key = next(k for k, r in seen.items() if r is hit)
        same = hit is not None and hit["link"] == link
        fits = fits and (same or self.may_link(tenant, link, *([key] if on == "id" else [])))
        work = service.upsert_many(self.session, [data], on=on) if many else service.upsert(self.session, data, on=on)
        assert self.is_refused(work) is not fits
        if fits:
            self.write(key, tenant, slug, body, None if hit is None else hit["parent"], link)

    @rule(tenant=TENANTS, other=TENANTS, key=IDS, body=BODIES, link=LINKS, form=st.sampled_from(["objects", "rows"]))
    def update(self, tenant: int, other: int, key: int, body: str, link: int | None, form: str) -> None:
        service, row = self.service(tenant), self.seen(tenant).get(key)
        data = {"body": body, "tenant_id": other, "id": 99, "link_id": link}
        target: Any = service if form == "objects" else service.repo.rows
        found: list[Any] = []

        async def change() -> None:
            found.append(await target.update(self.session, key, data))

        fits = row is None or row["link"] == link or self.may_link(tenant, link)
        assert self.is_refused(change()) is not fits
        assert not fits or (found[0] is not None) is (row is not None)
        if fits and row is not None:
            row.update(body=body, link=link)

    @rule(tenant=TENANTS, other=TENANTS, key=IDS, body=BODIES, link=LINKS, form=st.sampled_from(["objects", "rows"]))
    def update_each(self, tenant: int, other: int, key: int, body: str, link: int | None, form: str) -> None:
        service, seen = self.service(tenant), self.seen(tenant)
        data = {"body": body, "tenant_id": other, "id": 99, "link_id": link}
        target: Any = service if form == "objects" else service.repo.rows
        keys, found = [key, key % 8 + 1], list[Any]()

        async def change() -> None:
            found.extend(await target.update_each(self.session, [Change(each, data) for each in keys]))

        hit = [seen[each] for each in keys if each in seen]
        fits = self.may_link(tenant, link) or all(row["link"] == link for row in hit)
        assert self.is_refused(change()) is not fits
        assert not fits or [row is not None for row in found] == [each in seen for each in keys]
        for row in hit if fits else []:
            row.update(body=body, link=link)

    @rule(tenant=TENANTS, key=IDS, body=BODIES, link=LINKS, by=st.sampled_from(["all", "ids", "where"]))
    def update_many(self, tenant: int, key: int, body: str, link: int | None, by: str) -> None:
        chosen: dict[str, Any] = {"all": {"where": []}, "ids": {"ids": [key]}, "where": {"where": field("id").le(key)}}
        data, found = {"body": body, "tenant_id": 9, "link_id": link}, []

        async def change() -> None:
            found.append(await self.service(tenant).update_many(self.session, data, **chosen[by]))

        hit = [r for k, r in self.seen(tenant).items() if by == "all" or k == key or (by == "where" and k <= key)]
        fits = self.may_link(tenant, link) or all(row["link"] == link for row in hit)
        assert self.is_refused(change()) is not fits
        assert not fits or found == [len(hit)]
        for row in hit if fits else []:
            row.update(body=body, link=link)

    @rule(tenant=TENANTS, key=IDS, how=st.sampled_from(["delete", "restore", "purge"]))
    def remove(self, tenant: int, key: int, how: str) -> None:
        self._remove(tenant, key, how, many=False)

    @rule(tenant=TENANTS, key=IDS, how=st.sampled_from(["delete", "restore", "purge"]))
    def remove_many(self, tenant: int, key: int, how: str) -> None:
        self._remove(tenant, key, how, many=True)

    def _remove(self, tenant: int, key: int, how: str, *, many: bool) -> None:
        service = self.service(tenant)
        hit = key in self.seen(tenant, deleted=how == "restore")
        if how == "purge":
            hit = key in self.seen(tenant) or key in self.seen(tenant, deleted=True)
        if how == "purge" and hit and self.is_linked(key):
            where = {"where": field("id").eq(key), "deleted": "include"}
            purge = service.purge_many(self.session, **where) if many else service.purge(self.session, key)
            assert self.is_refused(purge)
            return
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
        try:
            assert self.do(target.get_one(self.session, key)).id in seen
        except NotFound:
            assert key not in seen
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

    @rule(tenant=TENANTS, key=IDS)
    def follow(self, tenant: int, key: int) -> None:
        seen = self.seen(tenant)
        self.session.expunge_all()
        found = self.do(self.service(tenant).repo.loading("children").get(self.session, key))
        wanted = sorted(k for k, row in seen.items() if row["parent"] == key)
        assert [child.id for child in found.children] == wanted if found is not None else key not in seen
        parents = self.do(self.service(tenant).repo.list(self.session, limit=50, where=field("children").any()))
        assert [r.id for r in parents] == sorted(seen.keys() & {row["parent"] for row in seen.values()})
        self.session.expunge_all()

    @invariant()
    def nothing_else_has_changed(self) -> None:
        found = self.do(self.repo.rows.list(self.session, limit=100, deleted="include"))
        there = {
            r.id: {
                "tenant": r.tenant_id,
                "slug": r.slug,
                "body": r.body,
                "deleted": r.deleted_at is not None,
                "parent": r.parent_id,
                "link": r.link_id,
            }
            for r in found
        }
        assert there == self.rows


CHECKS = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


def steps(examples: int, each: int, **more: Any) -> settings:
    """So many runs of the machine of so many steps each."""
    return settings(
        max_examples=examples, stateful_step_count=each, deadline=None, suppress_health_check=CHECKS, **more
    )


def run(url: str, chosen: settings) -> None:
    """Run the machine on a database."""
    if url != TenantMachine.url:
        asyncio.run(make_table(url))
    run_state_machine_as_test(type("Machine", (TenantMachine,), {"url": url}), settings=chosen)


async def make_table(url: str) -> None:
    """Make the table; the machine's own writes are all rolled back."""
    async with Database(url) as database, database.engine.begin() as connection:
        await connection.run_sync(Doc.__table__.create, checkfirst=True)
