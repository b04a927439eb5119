"""Loading the data set: all of it in one transaction, so that an interrupted load leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Table, exists, insert, or_, select

from quickstart.dataset import Dataset
from quickstart.models import MODELS
from svc_infra.db.sql.database import Database

__all__ = ["is_loaded", "load"]

BATCH_ROWS = 5_000
"""Rows per `executemany`: enough that the round trip does not count, few enough that the bar moves."""

TABLES = [cast("Table", model.__table__) for model in MODELS]

Item = TypeVar("Item")


async def is_loaded(database: Database) -> bool:
    """Tell whether any of the five tables has a row."""
    async with database.session(readonly=True) as session:
        return bool(await session.scalar(select(or_(*(exists(select(table)) for table in TABLES)))))


async def load(database: Database, dataset: Dataset) -> int:
    """Insert every row of *dataset* in one transaction behind a progress bar and return how many there were.

    Raises:
        DatasetError: A file is missing or wrong; nothing was inserted.
    """
    loaded = 0
    extracts = [(table, dataset.read(table)) for table in TABLES]
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as progress:
        async with database.engine.begin() as connection:
            for table, extract in extracts:
                task = progress.add_task(table.name, total=extract.total)
                for batch in _batches(extract.rows, BATCH_ROWS):
                    await connection.execute(insert(table), batch)
                    progress.advance(task, len(batch))
                    loaded += len(batch)
    return loaded


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
