"""Whether somebody listens to sessions, without making one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

__all__ = ["hears_sessions"]

_OF_READS: Final = (
    "do_orm_execute",
    "loaded_as_persistent",
    "after_begin",
    "after_transaction_create",
    "after_transaction_end",
    "before_commit",
    "after_commit",
    "after_rollback",
    "after_soft_rollback",
)
_OF_WRITES: Final = (
    *_OF_READS,
    "before_flush",
    "after_flush",
    "after_flush_postexec",
    "before_attach",
    "after_attach",
    "transient_to_pending",
    "pending_to_persistent",
    "persistent_to_deleted",
    "deleted_to_detached",
)


_Listeners: TypeAlias = tuple[Sequence[Sequence[object]], Sequence[Sequence[object]]]
_of_class: Final[dict[type[Session], _Listeners]] = {}


def hears_sessions(*, readonly: bool) -> bool:
    """Whether a listener of the class of sessions is told of what a session does, or reads.

    It is asked before every lone statement, as listeners may come and go; it takes a third of a microsecond.
    """
    kind = AsyncSession.sync_session_class
    reads, writes = _of_class.get(kind) or _listeners(kind)
    return any(reads) if readonly else any(writes)


def _listeners(kind: type[Session]) -> _Listeners:
    """The listeners of a class of sessions to what reads and to what writes do, in collections that stay up to date."""
    # What an instance that has none of its own would call; nothing else of it is used, so it is not initialised.
    events: Any = kind.__new__(kind).dispatch
    reads, writes = ([getattr(events, name).parent_listeners for name in names] for names in (_OF_READS, _OF_WRITES))
    found = _of_class[kind] = (reads, writes)
    return found
