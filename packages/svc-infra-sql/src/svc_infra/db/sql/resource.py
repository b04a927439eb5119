"""The description of a resource, from which CRUD routes are made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from svc_infra.db.sql.errors import UnknownField
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.service import SqlService

__all__ = ["SqlResource"]

M = TypeVar("M")


@dataclass(frozen=True, kw_only=True)
class SqlResource(Generic[M]):
    """A model and how it is offered; this package makes the repository of it, the web package the routes.

    Attributes:
        model: The mapped class.
        prefix: Path of the collection, such as "/users".
        tags: Tags of the routes; default the last part of the prefix.
        id_attr: The field in the path; default `id` when the model has it, else the primary key.
        soft_delete: Whether deleted rows are marked instead of removed.
        soft_delete_field: Nullable field that takes the time of the delete.
        soft_delete_flag_field: Boolean field that is true in live rows, or None.
        immutable_fields: Fields that an update ignores; None for `id`, `created_at` and `updated_at`, where they are.
        version_field: Integer field that counts updates, or None for the mapper's own.
        search_fields: Fields that the free-text search looks in; None or empty for no search.
        ordering_default: Order of a list that names none, such as "-created_at"; None for the primary key.
        allowed_order_fields: Fields that a list may be ordered by; None for all.
        allowed_filter_fields: Fields that a list may be filtered by; None for all.
        tenant_field: Field that holds the tenant; every route is confined to the caller's then.
        service_factory: Makes the service of a request from the repository, which is the tenant's when there is a
            `tenant_field`; None for one without hooks.
        read_schema: Class of a row in responses; None to make one of the model.
        create_schema: Class of the body of a create; None to make one.
        update_schema: Class of the body of an update; None to make one.
        read_name: Name of the made read schema; default `{Model}Read`.
        create_name: Name of the made create schema; default `{Model}Create`.
        update_name: Name of the made update schema; default `{Model}Update`.
        read_exclude: Fields left out of the made read schema.
        create_exclude: Fields left out of the made create schema.
        update_exclude: Fields left out of the made update schema.

    Raises:
        UnknownField: When a named field is no field of the model.
        ValueError: When the prefix does not begin with "/" or ends with one.
    """

    model: type[M]
    prefix: str
    tags: Sequence[str] | None = None
    id_attr: str | Sequence[str] | None = None
    soft_delete: bool = False
    soft_delete_field: str = "deleted_at"
    soft_delete_flag_field: str | None = None
    immutable_fields: Collection[str] | None = None
    version_field: str | None = None
    search_fields: Sequence[str] | None = None
    ordering_default: str | None = None
    allowed_order_fields: Sequence[str] | None = None
    allowed_filter_fields: Sequence[str] | None = None
    tenant_field: str | None = None
    service_factory: Callable[[SqlRepository[M]], SqlService[M]] | None = None
    read_schema: type | None = None
    create_schema: type | None = None
    update_schema: type | None = None
    read_name: str | None = None
    create_name: str | None = None
    update_name: str | None = None
    read_exclude: Collection[str] = ()
    create_exclude: Collection[str] = ()
    update_exclude: Collection[str] = ()

    def __post_init__(self) -> None:
        if not self.prefix.startswith("/") or self.prefix.endswith("/"):
            raise ValueError(
                f"the prefix of {self.model.__name__} must begin with '/' and not end with one, got {self.prefix!r}"
            )
        fields = ModelFields(self.model)
        fields.require(self.search_fields or (), use="searched")
        fields.require(self.allowed_order_fields or (), use="ordered by")
        fields.require(self.allowed_filter_fields or (), use="filtered by")
        if self.tenant_field is not None:
            fields.column(self.tenant_field, use="the tenant")
        for names in (self.read_exclude, self.create_exclude, self.update_exclude):
            fields.require(names, use="left out")
        if self.ordering_default is not None:
            for term in self.ordering_default.split(","):
                name = term.strip().lstrip("+-")
                fields.column(name, use="ordered by")
                if self.allowed_order_fields is not None and name not in self.allowed_order_fields:
                    raise UnknownField(f"ordering_default {name!r} is not among allowed_order_fields")

    def repository(self) -> SqlRepository[M]:
        """A repository as described, of all tenants; make it once and scope it per request.

        Raises:
            UnknownField: When a named field is no field of the model, or can't serve.
        """
        return SqlRepository(
            self.model,
            id_attr=self.id_attr,
            soft_delete=self.soft_delete,
            soft_delete_field=self.soft_delete_field,
            soft_delete_flag_field=self.soft_delete_flag_field,
            immutable_fields=self.immutable_fields,
            version_field=self.version_field,
        )

    def service(self, repo: SqlRepository[M]) -> SqlService[M]:
        """The service over a repository that `repository` made or a scoped copy of it."""
        return SqlService(repo) if self.service_factory is None else self.service_factory(repo)
