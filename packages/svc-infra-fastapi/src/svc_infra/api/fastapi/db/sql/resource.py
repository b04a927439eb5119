"""`ApiResource`: what a `SqlResource` can't say because it knows nothing of HTTP.

    ApiResource(
        model=User,
        prefix="/users",
        actions=ALL_ACTIONS - {"delete"},
        dependencies=[Depends(signed_in)],
        routes={"create": RouteOptions(dependencies=[Depends(is_admin)])},
    )

A plain `SqlResource` is served with the defaults of this class.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel

from svc_infra.api.fastapi.db.sql.idempotency import IdempotencyKeys
from svc_infra.api.fastapi.db.sql.query import TotalMode
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

__all__ = ["ALL_ACTIONS", "DEFAULT_ACTIONS", "Action", "ApiResource", "RouteOptions"]

M = TypeVar("M")

Action: TypeAlias = Literal[
    "list",
    "create",
    "get",
    "update",
    "replace",
    "delete",
    "restore",
    "export",
    "import",
    "bulk_create",
    "bulk_update",
    "bulk_upsert",
    "bulk_delete",
]
"""What a resource can do, each by one route."""

ALL_ACTIONS: Final[frozenset[Action]] = frozenset(get_args(Action)) - {"bulk_upsert"}
"""Every action but `bulk_upsert`, which has to know the key by which a record is told: name it and `upsert_on`."""

DEFAULT_ACTIONS: Final[frozenset[Action]] = frozenset({"list", "create", "get", "update", "delete"})
"""The actions of a resource that names none: those that act on one record at a time and can't undo a delete."""

BODY_OF: Final[Mapping[Action, Literal["create", "update", "replace"]]] = {
    "create": "create",
    "bulk_create": "create",
    "bulk_upsert": "create",
    "import": "create",
    "update": "update",
    "bulk_update": "update",
    "replace": "replace",
}
"""Which schema of the resource is the body of a record in an action; the other actions take none."""


@dataclass(frozen=True, kw_only=True)
class RouteOptions:
    """How one action of a resource differs from the others.

    Attributes:
        path: Its path below the prefix, with the parameters of the id where it acts on one record; None for the usual.
        operation_id: Its name in the OpenAPI document and so in generated clients; None for `<prefix>_<action>`.
        summary: Its title in the document.
        description: Its text in the document.
        dependencies: Guards of this route alone: `Depends(...)` or functions.
        include_in_schema: Whether the document shows it.
        body_schema: The schema of its body, where it takes one; of one record in a bulk request or an import.
        read_schema: The schema of a record in its answer.
        service_factory: Makes its service, so that the action has hooks of its own; names that the body's schema
            does not know then reach them.
    """

    path: str | None = None
    operation_id: str | None = None
    summary: str | None = None
    description: str | None = None
    dependencies: Sequence[object] = ()
    include_in_schema: bool = True
    body_schema: type[BaseModel] | None = None
    read_schema: type[BaseModel] | None = None
    service_factory: Callable[[SqlRepository[Any]], SqlService[Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class ApiResource(SqlResource[M]):
    """A resource with everything that its routes can be told.

    Attributes:
        actions: What it can do; see `DEFAULT_ACTIONS` and `ALL_ACTIONS`.
        dependencies: Guards of all its routes: `Depends(...)` or functions.
        routes: How single actions differ.
        limit_default: Records of a page when the request does not say.
        limit_max: Records of a page at most.
        total_default: How the total of a page is found when the request does not say.
        max_body_bytes: The largest body of a write, and the longest line of an import.
        max_bulk_items: Records of one bulk request at most.
        max_bulk_bytes: The largest body of a bulk request.
        max_import_bytes: The largest body of an import.
        import_timeout_seconds: How long an import may take, as it keeps a transaction open while the client sends.
        max_imports: Imports that one process carries out at the same time, each with a connection of its own; more are
            503.
        upsert_on: Fields of the unique key by which a bulk upsert knows a record; None for the id.
        idempotency: Where the answers of creates with an `Idempotency-Key` are kept; None ignores the header.
        nested: One-to-many relationships whose records a create may bring along, as names, or with the resource that
            says how each is written (its schemas, hooks, tenant field).
        max_nested_items: Records of one nested relationship at most.
        include: Relationships that a read may add, by `include=`.
        require_if_match: Whether an update, a replacement and a delete must say which version they change (428 if not).
        public_fields: Columns to be shown although their names look secret.
        hidden_fields: Columns never to be shown, besides those whose names look secret.
    """

    actions: Collection[Action] = DEFAULT_ACTIONS
    dependencies: Sequence[object] = ()
    routes: Mapping[Action, RouteOptions] = field(default_factory=dict)
    limit_default: int = 50
    limit_max: int = 1000
    total_default: TotalMode = "exact"
    max_body_bytes: int = 1_048_576
    max_bulk_items: int = 1000
    max_bulk_bytes: int = 10_485_760
    max_import_bytes: int = 1_073_741_824
    import_timeout_seconds: float = 600.0
    max_imports: int = 4
    upsert_on: Sequence[str] | None = None
    idempotency: IdempotencyKeys | None = None
    nested: Sequence[str] | Mapping[str, SqlResource[Any]] = ()
    max_nested_items: int = 100
    include: Sequence[str] = ()
    require_if_match: bool = False
    public_fields: Collection[str] = ()
    hidden_fields: Collection[str] = ()

    def __post_init__(self) -> None:
        """Refuse what means nothing, so that a mistake shows at set-up."""
        super().__post_init__()
        known = set(get_args(Action))
        unknown = (set(self.actions) | set(self.routes)) - known
        if unknown:
            raise ValueError(f"{self.prefix}: there is no action {sorted(unknown)}; there are {sorted(known)}")
        if not 1 <= self.limit_default <= self.limit_max:
            raise ValueError(f"{self.prefix}: limit_default is {self.limit_default}; it must be 1..{self.limit_max}")
        for action, options in self.routes.items():
            if options.body_schema is not None and action not in BODY_OF:
                raise ValueError(f"{self.prefix}: {action} takes no record in its body, so it has no body_schema")
        if "restore" in self.actions and not self.soft_delete:
            raise ValueError(
                f"{self.prefix}: the action restore needs soft_delete=True; leave it out of actions if not"
            )

    def options(self, action: Action) -> RouteOptions:
        """Return how *action* differs."""
        return self.routes.get(action, _NO_OPTIONS)


_NO_OPTIONS: Final = RouteOptions()


def api_resource(resource: SqlResource[Any]) -> ApiResource[Any]:
    """Return *resource* with the defaults of an `ApiResource`, or itself when it is one."""
    if isinstance(resource, ApiResource):
        return resource
    given: dict[str, Any] = {item.name: getattr(resource, item.name) for item in fields(resource)}
    make: Callable[..., ApiResource[Any]] = ApiResource
    return make(**given)
