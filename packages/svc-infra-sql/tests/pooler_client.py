"""A process that works through a pooler: `pooler_client.py URL` prints its errors as a JSON list."""

from __future__ import annotations

import asyncio
import json
import sys

from sqlalchemy import text

from svc_infra.db.sql.database import Database

TASKS, TURNS = 6, 10


async def work(database: Database, task: int, errors: list[str]) -> None:
    """Run transactions whose statements differ from task to task and from turn to turn."""
    for turn in range(TURNS):
        try:
            async with database.session() as session:
                await session.execute(text("INSERT INTO counters VALUES (:task, :turn)"), {"task": task, "turn": turn})
                limit = (await session.execute(text("SHOW statement_timeout"))).scalar_one()
                value = (await session.execute(text(f"SELECT {turn} + {task} AS a_{task % 3}"))).scalar_one()
                if (limit, value) != ("10s", turn + task):
                    errors.append(f"another statement's answer: {limit}, {value}")
        except Exception as error:  # noqa: BLE001 (all of them are what the test asks about)
            errors.append(repr(error))


async def main(url: str) -> list[str]:
    """Return the errors of all tasks."""
    errors: list[str] = []
    async with Database(url, statement_timeout_ms=10_000) as database:
        await asyncio.gather(*(work(database, task, errors) for task in range(TASKS)))
    return errors


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1]))))
