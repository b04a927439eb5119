"""The description of a resource, from which routes are made; this package knows nothing of the web."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

from svc_infra.db.nosql.mongo.errors import UnknownField
from svc_infra.db.nosql.mongo.identifiers import IdType
from svc_infra.db.nosql.mongo.indexes import MongoIndex
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.service import MongoService

__all__ = ["MongoAction", "MongoResource"]

T = TypeVar("T")

MongoAction: TypeAlias = Literal[
    "list",
    "create",
    "get",
    "update",
    "replace",
    "delete",
    "restore",
    "bulk_create",
    "bulk_update",
    "bulk_delete",
    "export",
]
"""What a resource can do, each by one route."""


@dataclass(frozen=True, kw_only=True)
class MongoResource(Generic[T]):
    """A collection and how it is offered, with the vocabulary of `SqlResource`.

    Attributes:
        model: The Pydantic model of a document, with a field for its id.
        prefix: Path of the resource, such as "/users".
        collection: Name of the collection; default the last part of the prefix.
        tags: Tags of the routes; default the last part of the prefix.
        id_attr: The model's field for the document's `_id`, and the parameter in the path.
        id_type: How ids are stored. "objectid" and "uuid" are made by the server; the others come with the body.
        actions: What it can do; by default records one by one and pages of them, the others when they are named here.
        soft_delete: Whether deleted documents are marked instead of removed.
        soft_delete_field: Field that takes the time of the delete.
        immutable_fields: Fields that an update ignores; None for the id, `created_at` and `updated_at`.
        timestamps: Whether the server sets `created_at` and `updated_at`, which the model then has to show.
        version_field: Integer field that counts updates; with it `If-Match` prevents lost updates.
        search_fields: Fields that the free-text search looks in; None or empty for no search.
        ordering_default: Order of a list that names none, such as "-created_at"; None for the id.
        allowed_order_fields: Fields that a list may be ordered by; None for all that are shown.
        allowed_filter_fields: Fields that a list may be filtered by; None for all that are shown.
        tenant_field: Field that holds the tenant; every route is confined to the caller's then.
        service_factory: Makes the service of a request from the repository, which is the tenant's when there is a
            `tenant_field`; None for one without hooks.
        read_schema: Class of a document in responses; None to make one of the model.
        create_schema: Class of the body of a create; None to make one.
        update_schema: Class of the body of an update; None to make one.
        hidden_fields: Fields that are never shown, besides those whose names look secret.
        public_fields: Fields to be shown although their names look secret.
        indexes: Indexes that `prepare_mongo` creates.
        limit_default: Documents of a page when the request does not say.
        limit_max: Documents of a page at most.
        max_body_bytes: The largest body of a write; MongoDB itself takes 16 MiB a document.
        max_bulk_items: Documents of one bulk request at most.
        max_bulk_bytes: The largest body of a bulk request.

    Raises:
        TypeError: The model is no Pydantic model.
        UnknownField: A named field is no field of the model.
        ValueError: The prefix does not begin with "/" or ends with one, or another value is out of range.
    """

    model: type[T]
    prefix: str
    collection: str | None = None
    tags: Sequence[str] | None = None
    id_attr: str = "id"
    id_type: IdType = "objectid"
    actions: Collection[MongoAction] = ("list", "create", "get", "update", "delete")
    soft_delete: bool = False
    soft_delete_field: str = "deleted_at"
    immutable_fields: Collection[str] | None = None
    timestamps: bool = False
    version_field: str | None = None
    search_fields: Sequence[str] | None = None
    ordering_default: str | None = None
    allowed_order_fields: Sequence[str] | None = None
    allowed_filter_fields: Sequence[str] | None = None
    tenant_field: str | None = None
    service_factory: Callable[[MongoRepository[T]], MongoService[T]] | None = None
    read_schema: type | None = None
    create_schema: type | None = None
    update_schema: type | None = None
    hidden_fields: Collection[str] = ()
    public_fields: Collection[str] = ()
    indexes: Sequence[MongoIndex] = ()
    limit_default: int = 50
    limit_max: int = 1000
    max_body_bytes: int = 1_048_576
    max_bulk_items: int = 1000
    max_bulk_bytes: int = 10_485_760

    def __post_init__(self) -> None:
        if not self.prefix.startswith("/") or self.prefix.endswith("/"):
            raise ValueError(
                f"the prefix of {self.model.__name__} must begin with '/' and not end with one, got {self.prefix!r}"
            )
        unknown = set(self.actions) - set(get_args(MongoAction))
        if unknown:
            raise ValueError(f"{self.prefix}: there is no action {sorted(unknown)}; there are {get_args(MongoAction)}")
        if "restore" in self.actions and not self.soft_delete:
            raise ValueError(f"{self.prefix}: restore needs soft_delete=True")
        if not 1 <= self.limit_default <= self.limit_max:
            raise ValueError(f"{self.prefix}: limit_default is {self.limit_default}; it must be 1..{self.limit_max}")
        fields = self.fields
        used: dict[str, Collection[str]] = {
            "the id": [self.id_attr],
            "the version": [self.version_field] if self.version_field is not None else [],
            "the tenant": [self.tenant_field] if self.tenant_field is not None else [],
            "searched": self.search_fields or (),
            "ordered by": [*(self.allowed_order_fields or ()), *self.default_order],
            "filtered by": self.allowed_filter_fields or (),
            "hidden": self.hidden_fields,
        }
        for use, names in used.items():
            for name in names:
                if name.lstrip("+-") not in fields:
                    raise UnknownField(
                        f"{self.model.__name__} has no field {name!r}, so it can't be {use}; its fields are "
                        f"{', '.join(sorted(fields))}"
                    )

    @property
    def fields(self) -> Mapping[str, Any]:
        """The model's fields by name.

        Raises:
            TypeError: The model is no Pydantic model.
        """
        fields: Mapping[str, Any] | None = getattr(self.model, "model_fields", None)
        if fields is None:
            raise TypeError(f"{self.model.__name__} is no Pydantic model")
        return fields

    @property
    def default_order(self) -> tuple[str, ...]:
        """The terms of `ordering_default`."""
        return tuple(term.strip() for term in (self.ordering_default or "").split(",") if term.strip())

    def repository(self) -> MongoRepository[T]:
        """A repository as described, of all tenants; make it once and scope it per request."""
        return MongoRepository(
            self.collection or self.prefix.rpartition("/")[2],
            model=self.model,
            id_attr=self.id_attr,
            id_type=self.id_type,
            soft_delete=self.soft_delete,
            soft_delete_field=self.soft_delete_field,
            immutable_fields=self.immutable_fields,
            timestamps=self.timestamps,
            version_field=self.version_field,
            indexes=self.indexes,
        )

    def service(self, repo: MongoRepository[T]) -> MongoService[T]:
        """The service over a repository that `repository` made or a scoped copy of it."""
        return MongoService(repo) if self.service_factory is None else self.service_factory(repo)
