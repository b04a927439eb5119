"""What docs/guide/routes.md tells of HTTP is what a service answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from serving import served
from sqlalchemy import String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from console import asked_in
from svc_infra.api.fastapi import problems
from svc_infra.api.fastapi.db.sql.add import setup_sql
from svc_infra.db.sql.database import Database
from svc_infra.db.sql.mixins import Versioned
from svc_infra.db.sql.resource import SqlResource

ROOT = Path(__file__).parent.parent.parent
GUIDE_FILE = ROOT / "docs" / "guide" / "routes.md"
GUIDE = GUIDE_FILE.read_text()


class Base(DeclarativeBase):
    pass


class User(Versioned, Base):
    """A user."""

    __tablename__ = "guide_users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), default="")
    email: Mapped[str] = mapped_column(String(50), unique=True)


async def create_tables(url: str) -> None:
    """Create the tables of the example."""
    async with Database(url) as database, database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


@pytest.fixture
def client(sqlite_url: str) -> Iterator[httpx.Client]:
    """The guide's users, served."""
    asyncio.run(create_tables(sqlite_url))
    app = FastAPI()
    setup_sql(app, [SqlResource(model=User, prefix="/users", search_fields=["name"])], url=sqlite_url)
    with served(app) as found:
        for number in range(5):
            found.post("/users", json={"email": f"{number}@b.c"}).raise_for_status()
        yield found


def test_the_problem_in_the_guide_is_the_one_that_comes(client: httpx.Client) -> None:
    """A duplicate is answered by the very JSON that stands there."""
    (block,) = re.findall(r"^```json\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    assert client.post("/users", json={"email": "1@b.c"}).json() == json.loads(block)


def test_every_problem_type_in_the_guide_is_there() -> None:
    """A program that compares with a type from the table will meet it, with that status."""
    rows = re.findall(r"^\| ([\d, ]+)[^|]* \| (`.*) \|$", GUIDE, re.MULTILINE)
    assert len(rows) >= 8
    source = "".join(path.read_text() for path in Path(problems.__file__).parent.rglob("*.py"))
    for statuses, slugs in rows:
        for slug in re.findall(r"`([a-z]+(?:-[a-z]+)+)`", slugs):
            numbers = "|".join(statuses.replace(" ", "").split(","))
            made = rf'Problem\(\s*"{slug}",\s*({numbers}),|({numbers}): "{slug}"'
            assert re.search(made, source), f"no problem {slug} of status {statuses}"


def test_the_queries_of_the_guide_are_answered(client: httpx.Client) -> None:
    """Pages by cursor meet each row once, `select` cuts the answer, an ETag guards a write."""
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get("/users", params={"cursor": cursor, "limit": 2, "select": "id,email"}).json()
        seen += page["items"]
        cursor = page["next_cursor"]
    assert seen == [{"id": number + 1, "email": f"{number}@b.c"} for number in range(5)]
    etag = client.get("/users/3").headers["etag"]
    assert client.get("/users/3", headers={"If-None-Match": etag}).status_code == 304
    assert client.patch("/users/3", json={"name": "Ada"}, headers={"If-Match": etag}).status_code == 200
    assert client.patch("/users/3", json={"name": "Bob"}, headers={"If-Match": etag}).status_code == 412
    assert client.get("/users?q=ada&fields=name").json()["total"] == 1


def test_what_curl_is_told_is_answered_so(client: httpx.Client) -> None:
    """Each command, in this order, prints what stands below it."""
    asked = asked_in(GUIDE_FILE)
    assert len(asked) >= 3
    for each in asked:
        assert each.ask(str(client.base_url).rstrip("/")) == each.answer, each.command


def test_no_call_of_curl_stands_untested() -> None:
    """Every one in the documentation has its answer below it, in a file that a test runs."""
    files = [
        ROOT / "README.md",
        *(path for folder in ("docs", "examples", "packages") for path in (ROOT / folder).rglob("*.md")),
    ]
    calling = {path for path in files if "curl " in path.read_text()}
    assert calling == {GUIDE_FILE, ROOT / "examples" / "quickstart" / "README.md"}
    for path in calling:
        assert path.read_text().count("curl ") == len(asked_in(path)), path
