"""Many rows: what docs/guide/repositories.md shows of loading a file, on each database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from myapp.models import User
from sqlalchemy.ext.asyncio import AsyncSession

from svc_infra.db.sql.repository import SqlRepository

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "repositories.md"


@pytest.fixture
def load() -> Any:
    """The guide's function, with its repository."""
    (example,) = [code for code in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "csv" in code]
    names: dict[str, Any] = {"repo": SqlRepository(model=User, soft_delete=True), "AsyncSession": AsyncSession}
    exec(compile(example, str(GUIDE), "exec"), names)
    return names["load"]


async def test_a_file_is_loaded(
    session: AsyncSession, load: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its progress; of a file with a record that is refused, nothing but the record's number is left."""
    lines = [f"user-{number},n{number}@example.com" for number in range(600)]
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text("\n".join(["id,email", *lines]))
    bad.write_text("\n".join(["id,email", "one,one@example.com", "two,two@example.com", "one,again@example.com"]))
    assert await load(session, str(good)) == 600
    assert capsys.readouterr().out == "600\n"
    duckdb = session.get_bind().dialect.name == "duckdb"
    with pytest.raises(SystemExit, match="record None" if duckdb else "bad.csv, record 2: row 2: "):
        await load(session, str(bad))
    assert await SqlRepository(User).count(session) == (0 if duckdb else 600)  # there the whole transaction is undone
