"""The verbs around migrations: seeds, a tenant's rows, a first model, and the picture of the schema."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from migrate.workspace import Workspace
from svc_infra.db.sql.core.diagram import DescribedColumn, DescribedKey, DescribedTable
from svc_infra.db.sql.core.svg import draw_svg

SVG = "{http://www.w3.org/2000/svg}"

SHOP = """
    op.create_table("owners", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(20)))
    op.create_table(
        "odd orders",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owners.id"), nullable=False),
        sa.Column("parent_id", sa.Integer, sa.ForeignKey("odd orders.id")),
        sa.Column("price", sa.Numeric(10, 2)),
    )
    op.execute("INSERT INTO owners VALUES (1, 'o''brien')")
    op.execute('INSERT INTO "odd orders" VALUES (1, 1, NULL, 1.5)')
"""

SEEDS = """
import functools

import sqlalchemy as sa

INSERT = sa.text("INSERT INTO owners (name) VALUES (:name)")


async def asynchronous(session):
    await session.execute(INSERT, {"name": "async"})


class Callable:
    async def __call__(self, session):
        await session.execute(INSERT, {"name": "object"})


an_object = Callable()
partial = functools.partial(asynchronous)
returns_a_coroutine = lambda: asynchronous(None)


def half(session):
    session.execute(INSERT, {"name": "half"})
    raise ValueError("no luck")
"""


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    workspace.init()
    workspace.revision("r1", SHOP)
    assert workspace.run("sql", "upgrade").returncode == 0
    return workspace


def names(shop: Workspace) -> list[str]:
    done = shop.run("sql", "export-tenant", "owners", "--tenant-field", "name", "--tenant-id", "async")
    more = shop.run("sql", "export-tenant", "owners", "--tenant-field", "name", "--tenant-id", "object")
    half = shop.run("sql", "export-tenant", "owners", "--tenant-field", "name", "--tenant-id", "half")
    return [row["name"] for answer in (done, more, half) for row in json.loads(answer.stdout)]


def test_a_seed_is_a_function_a_partial_or_an_object(shop: Workspace, tmp_path: Path) -> None:
    """All of them are awaited; one that raises leaves nothing and is named with its reason."""
    module = f"seeds_{tmp_path.name}"
    shop.write(f"{module}.py", SEEDS)
    for name in ("asynchronous", "partial", "an_object"):
        done = shop.run("sql", "seed", f"{module}:{name}")
        assert done.returncode == 0, done.stderr
    failed = shop.run("sql", "seed", f"{module}:half")
    assert failed.returncode == 1
    assert f"{module}:half failed, and its transaction was rolled back: ValueError: no luck" in failed.stderr
    assert names(shop) == ["async", "async", "object"]
    assert "define it with async def" in shop.run("sql", "seed", f"{module}:returns_a_coroutine").stderr
    assert "can't import nothing to seed from" in shop.run("sql", "seed", "nothing:here").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing", "--tenant-id", "1"), "there is no table nothing"),
        (("odd orders", "--tenant-id", "1"), "has no column tenant_id; its columns: id, owner_id"),
        (("odd orders", "--tenant-id", "x", "--tenant-field", "owner_id"), "the tenant 'x' is no int"),
    ],
)
def test_a_wrong_export_writes_nothing(shop: Workspace, arguments: tuple[str, ...], message: str) -> None:
    """Half a JSON document would be worse than none."""
    done = shop.run("sql", "export-tenant", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr


def test_names_and_tenants_are_quoted(shop: Workspace) -> None:
    """A blank in a table's name and a quote in the tenant are data, no SQL."""
    done = shop.run("sql", "export-tenant", "owners", "--tenant-field", "name", "--tenant-id", "o'brien")
    assert json.loads(done.stdout) == [{"id": 1, "name": "o'brien"}]
    rows = shop.run("sql", "export-tenant", "odd orders", "--tenant-field", "owner_id", "--tenant-id", "1")
    assert json.loads(rows.stdout) == [{"id": 1, "owner_id": 1, "parent_id": None, "price": "1.50"}]


@pytest.mark.parametrize("field", ["class", "metadata", "id", "2nd"])
def test_a_scaffolded_column_can_be_imported(workspace: Workspace, field: str) -> None:
    """What Python or SQLAlchemy has taken is refused, and no file is left."""
    done = workspace.run("sql", "scaffold", "Thing", f"{field}:int", "-o", "things.py")
    assert (done.returncode, (workspace.root / "things.py").exists()) == (1, False)
    assert f"{field!r} can't be a column's name here" in done.stderr


def test_the_diagram_is_mermaid_svg_or_json(shop: Workspace) -> None:
    """Names with blanks are quoted, NULL-able references drawn as such, and the picture is well-formed."""
    mermaid = shop.run("sql", "diagram").stdout
    assert '    owners ||--o{ "odd orders" : "owner_id"' in mermaid
    assert '    "odd orders" |o--o{ "odd orders" : "parent_id"' in mermaid
    assert "        NUMERIC(10_2) price" in mermaid
    assert shop.run("sql", "diagram", "--format", "svg", "-o", "schema.svg").returncode == 0
    picture = ET.parse(shop.root / "schema.svg").getroot()
    titles = [title.text for title in picture.iter(f"{SVG}title")]
    assert "owner_id refers to owners (id)" in titles
    assert "parent_id refers to odd orders (id)" in titles


def test_a_large_schema_with_circles_is_laid_out_without_overlap() -> None:
    """Boxes of one column are stacked, referred tables stand on the left, and a circle ends somewhere."""
    key = DescribedColumn("id", "INTEGER", nullable=False, primary_key=True)
    other = DescribedColumn("ref", "INTEGER", nullable=True, primary_key=False)

    def table(number: int) -> DescribedTable:
        refers = DescribedKey(("ref",), f"t<{(number + 1) % 60 if number < 30 else 0}>", ("id",))
        return DescribedTable(f"t<{number}>", (key, *[other] * (number % 7)), (refers,) if number % 7 else ())

    picture = ET.fromstring(draw_svg([table(number) for number in range(60)]))
    frames = [
        tuple(float(item.attrib[name]) for name in ("x", "y", "width", "height"))
        for item in picture.iter(f"{SVG}rect")
        if item.attrib.get("fill") == "#fff" and "x" in item.attrib
    ]
    assert len(frames) == 60
    for first in frames:
        for second in frames:
            apart = (
                first[0] + first[2] <= second[0] or second[0] + second[2] <= first[0]
                or first[1] + first[3] <= second[1] or second[1] + second[3] <= first[1]
            )  # fmt: skip
            assert first is second or apart
    assert ET.fromstring(draw_svg([])).tag == f"{SVG}svg"
