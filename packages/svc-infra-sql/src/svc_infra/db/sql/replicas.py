"""Read replicas: which of them may answer a read-only session now.

A replica may answer when it is reachable, not too far behind, and has what the caller wrote before. The last two are
one question: up to which moment has it caught up? At each check the primary's position is noted with the time on this
machine's clock, then the replica is asked which position it has replayed: it has caught up to the newest noted moment
whose position it has passed. Clocks of different machines are never compared, and an idle primary causes no lag.
A position is PostgreSQL's WAL address or MariaDB's GTIDs; MySQL is asked for its own count of seconds instead, for
which the user needs the privilege REPLICATION CLIENT.

A replica is checked when a session asks for one and its last check is `CHECK_SECONDS` old. When the primary does not
answer, lag can't be told, and the replicas go on answering.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from svc_infra.db.sql._engine import EngineFamily
from svc_infra.db.sql._options import Wishes
from svc_infra.db.sql._wait import bounded
from svc_infra.db.sql.errors import Disconnected, PoolTimeout
from svc_infra.db.sql.translate import translate

__all__ = ["Replica", "ReplicaSet", "join_scope", "new_scope"]

#: Seconds that the result of a check is used.
CHECK_SECONDS = 1.0
#: Seconds that a check may take before the server counts as down.
ANSWER_SECONDS = 1.0
#: Seconds until a replica that was down is checked again; doubled each time, up to the second number.
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 30.0

_PRIMARY_POSITION = "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
_REPLICA_POSITION = "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() - '0/0'::pg_lsn END"

_HELD = "svc_infra.db.sql.writes"
_writes: contextvars.ContextVar[WeakKeyDictionary[ReplicaSet, float]] = contextvars.ContextVar("svc_infra_writes")


class Replica:
    """One read replica and what is known of it.

    Attributes:
        engine: Its engine.
        is_up: Whether it answered when it was last used or checked.
        caught_up_to: The moment, on `clock`, whose writes it has all replayed; None when that can't be told.
    """

    def __init__(self, family: EngineFamily, clock: Callable[[], float] = monotonic) -> None:
        self.family = family
        self.is_up: bool = True
        self.caught_up_to: float | None = None
        self._clock = clock
        self._check_at = float("-inf")
        self._rest = FIRST_REST_SECONDS
        self._check: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Replica {self.engine.url!r} {'up' if self.is_up else 'down'}>"

    @property
    def engine(self) -> AsyncEngine:
        """The replica's engine."""
        return self.family.engine

    async def refresh(self, check: Callable[[Replica], Coroutine[Any, Any, None]]) -> None:
        """Check the replica when the last check is too old; those who come meanwhile wait for the same check."""
        running = self._check
        if running is None:
            if self._clock() < self._check_at:
                return
            running = self._check = asyncio.create_task(check(self))
            running.add_done_callback(self._checked)
        await asyncio.shield(running)

    def _checked(self, _check: asyncio.Task[None]) -> None:
        self._check = None

    def answered(self, caught_up_to: float | None) -> None:
        """Note that it answered."""
        self.is_up = True
        self.caught_up_to = caught_up_to
        self._rest = FIRST_REST_SECONDS
        self._check_at = self._clock() + CHECK_SECONDS

    def failed(self) -> None:
        """Note that it did not answer, and let it rest."""
        self.is_up = False
        self._check_at = self._clock() + self._rest
        self._rest = min(self._rest * 2, LONGEST_REST_SECONDS)


class ReplicaSet:
    """The read replicas of one primary.

    Args:
        primary: The primary's engines.
        replicas: The replicas' engines.
        max_lag_seconds: How far behind the primary a replica may be.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        primary: EngineFamily,
        replicas: Sequence[EngineFamily],
        max_lag_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.replicas: tuple[Replica, ...] = tuple(Replica(family, clock) for family in replicas)
        self._primary = primary
        self._max_lag = max_lag_seconds
        self._clock = clock
        self._turn = 0
        self._positions: deque[tuple[float, Any]] = deque(maxlen=120)
        self._primary_answers = True

    async def open(self, wishes: Wishes) -> tuple[AsyncSession, Replica] | None:
        """Open a session, connected, on a replica that may answer now; None when there is none.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: When a replica refuses for another reason than being down.
        """
        for number in range(len(self.replicas)):
            replica = await self.candidate(number)
            if replica is None:
                continue
            session = AsyncSession(replica.family.get(wishes), expire_on_commit=False, close_resets_only=False)
            try:
                await session.connection()
            except BaseException as error:
                await session.close()
                if not isinstance(translate(error), (Disconnected, PoolTimeout)):
                    raise
                replica.failed()
            else:
                return session, replica
        return None

    async def candidate(self, number: int) -> Replica | None:
        """The replica whose turn it is, checked when its last check is too old; None when it may not answer now.

        Args:
            number: How many were asked for before, for the same reader.
        """
        if number == 0:
            self._turn += 1
        replica = self.replicas[(self._turn + number) % len(self.replicas)]
        await replica.refresh(self._check)
        return replica if self._may_answer(replica) else None

    def note_write(self) -> None:
        """Note that the current scope has written: from now on it is answered by those that have it."""
        writes = _writes.get(None)
        if writes is None:
            writes = WeakKeyDictionary()
            _writes.set(writes)
        writes[self] = self._clock()

    def _may_answer(self, replica: Replica) -> bool:
        if not replica.is_up:
            return False
        written = _writes.get(_NO_WRITES).get(self)
        if written is not None and (replica.caught_up_to is None or replica.caught_up_to <= written):
            return False
        if replica.caught_up_to is None or not self._primary_answers:
            return True
        return self._clock() - replica.caught_up_to <= self._max_lag

    async def _check(self, replica: Replica) -> None:
        asks = {"postgresql": self._ask_postgresql, "mysql": self._ask_mysql, "mariadb": self._ask_mysql}
        ask = asks.get(replica.engine.dialect.name, self._ask_whether_up)
        try:
            caught_up_to = await bounded(ask(replica), ANSWER_SECONDS)
        except (SQLAlchemyError, OSError, _NotAReplica):
            replica.failed()
        else:
            replica.answered(caught_up_to)

    async def _ask_postgresql(self, replica: Replica) -> float | None:
        await self._note_primary_position(_PRIMARY_POSITION)
        position = await _scalar(replica.engine, _REPLICA_POSITION)
        if position is None:
            # Promoted, or no replica at all: whatever it answers, it does not follow the primary.
            raise _NotAReplica
        return self._caught_up_to(lambda at: at <= position)

    def _caught_up_to(self, has_passed: Callable[[Any], bool]) -> float:
        """The newest noted moment whose position was passed."""
        return next((moment for moment, at in reversed(self._positions) if has_passed(at)), float("-inf"))

    async def _note_primary_position(self, statement: str) -> None:
        moment = self._clock()
        if self._positions and moment - self._positions[-1][0] < CHECK_SECONDS / 2:
            return
        try:
            position = await bounded(_scalar(self._primary.engine, statement), ANSWER_SECONDS / 2)
        except (SQLAlchemyError, OSError):
            self._primary_answers = False
        else:
            self._primary_answers = True
            self._positions.append((moment, position))

    async def _ask_mysql(self, replica: Replica) -> float | None:
        moment = self._clock()
        async with replica.engine.connect() as connection:
            if getattr(connection.dialect, "is_mariadb", False):
                await self._note_primary_position("SELECT @@global.gtid_binlog_pos")
                position = (await connection.exec_driver_sql("SELECT @@global.gtid_slave_pos")).scalar()
                return self._mariadb_caught_up_to(_sequences(position))
            row = (await connection.exec_driver_sql("SHOW REPLICA STATUS")).mappings().first()
        if row is None:
            raise _NotAReplica
        behind = row.get("Seconds_Behind_Source", row.get("Seconds_Behind_Master"))
        # NULL: replication has stopped. The number is of whole seconds.
        return float("-inf") if behind is None else moment - float(behind) - 1

    def _mariadb_caught_up_to(self, here: dict[str, int]) -> float:
        if not here and any(_sequences(at) for _, at in self._positions):
            raise _NotAReplica
        return self._caught_up_to(
            lambda at: all(here.get(domain, 0) >= number for domain, number in _sequences(at).items())
        )

    async def _ask_whether_up(self, replica: Replica) -> float | None:
        await _scalar(replica.engine, "SELECT 1")
        return None


class _NotAReplica(Exception):
    """The server does not replicate from the primary."""


_NO_WRITES: WeakKeyDictionary[ReplicaSet, float] = WeakKeyDictionary()


@contextmanager
def new_scope() -> Iterator[None]:
    """Start a scope of its own: writes before it and beside it don't count for the reads in it.

    Tasks that are started in the scope belong to it. A web framework opens one per request; without any, a scope is as
    wide as the task and its `contextvars` context.
    """
    token = _writes.set(WeakKeyDictionary())
    try:
        yield
    finally:
        _writes.reset(token)


def join_scope(holder: MutableMapping[str, Any]) -> None:
    """Make the current task belong to the scope that *holder* keeps, which is started when there is none.

    For a framework whose request is served by several functions with a place to keep things, such as ASGI's scope: a
    write in one of them, or in a task that one started, counts for the reads of the others. What the task wrote before
    it joined counts as well.
    """
    writes = holder.get(_HELD)
    if writes is None:
        writes = holder[_HELD] = WeakKeyDictionary(_writes.get(_NO_WRITES))
    if _writes.get(None) is not writes:
        _writes.set(writes)


def _sequences(position: str | None) -> dict[str, int]:
    """Read MariaDB's position, `domain-server-sequence,...`: the number that each replication domain has come to."""
    parts = [gtid.strip().split("-") for gtid in (position or "").split(",") if gtid.strip()]
    return {domain: int(number) for domain, _, number in parts}


async def _scalar(engine: AsyncEngine, statement: str) -> Any:
    async with engine.connect() as connection:
        return (await connection.exec_driver_sql(statement)).scalar()
