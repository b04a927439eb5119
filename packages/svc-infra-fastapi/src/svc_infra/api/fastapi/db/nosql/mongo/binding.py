"""A MongoDB resource made ready to serve: fields, schemas, query rules, repository, encoder; made once at set-up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from svc_infra.api.fastapi.db.nosql.mongo.fields import DocumentField, document_fields
from svc_infra.api.fastapi.db.sql.query import ListQuery, ListRules
from svc_infra.api.fastapi.db.sql.schemas import ResourceSchemas
from svc_infra.api.fastapi.problems import Problem, ProblemError
from svc_infra.db.nosql.mongo.filters import Filter
from svc_infra.db.nosql.mongo.filters import field as document_field
from svc_infra.db.nosql.mongo.repository import MongoRepository
from svc_infra.db.nosql.mongo.resource import MongoResource
from svc_infra.db.nosql.mongo.service import MongoService

__all__ = ["MongoBinding"]

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

_READ: Final = ConfigDict(from_attributes=True, ser_json_bytes="base64", protected_namespaces=())
_READS: Final = ("get", "list", "search", "count")


@dataclass(frozen=True)
class MongoBinding:
    """One resource and everything about it that does not change from request to request.

    Attributes:
        resource: The description that the application gave.
        fields: The fields of a document.
        schemas: The schemas of its bodies.
        rules: What its list route's query string may hold.
        repo: The repository of all tenants' documents.
        noun: What the names of its schemas begin with.
        keeps_reads: Whether the service leaves reads as they are, so that pages by cursor may go past it.
    """

    resource: MongoResource[Any]
    fields: Mapping[str, DocumentField]
    schemas: ResourceSchemas
    rules: ListRules
    repo: MongoRepository[Any]
    noun: str
    keeps_reads: bool

    @classmethod
    def of(cls, resource: MongoResource[Any], noun: str) -> MongoBinding:
        """Make everything that a resource needs; mistakes in its description are raised here, at set-up.

        Args:
            resource: The resource.
            noun: What the names of its schemas begin with.
        """
        fields = document_fields(resource)
        repo = resource.repository()
        kind = type(resource.service(repo))
        keeps_reads = all(getattr(kind, name) is getattr(MongoService, name) for name in _READS)
        visible = [name for name, field in fields.items() if not field.is_hidden and field.is_comparable]
        schemas = _schemas(resource, fields, noun)
        rules = ListRules(
            fields,
            filter_fields=_allowed(resource.allowed_filter_fields, visible),
            order_fields=_allowed(resource.allowed_order_fields, visible),
            order_default=resource.default_order,
            search_fields=tuple(resource.search_fields or ()),
            select_fields=tuple(schemas.read.model_fields),
            has_cursor=keeps_reads,
            limit_default=resource.limit_default,
            limit_max=resource.limit_max,
            document_operators=resource.allowed_filter_fields is not None,
        )
        hidden = sorted(name for name, field in fields.items() if field.is_hidden)
        if hidden and resource.read_schema is None:
            logger.info("%s: responses never show %s", resource.prefix, ", ".join(hidden))
        return cls(resource, fields, schemas, rules, repo, noun, keeps_reads)

    @property
    def id_path(self) -> str:
        """The part of the path that addresses a document."""
        return f"/{{{self.resource.id_attr}}}"

    @cached_property
    def read_adapter(self) -> TypeAdapter[BaseModel]:
        """Encodes documents."""
        return TypeAdapter(self.schemas.read)

    @cached_property
    def create_adapter(self) -> TypeAdapter[BaseModel]:
        """Validates the body of a create."""
        return TypeAdapter(self.schemas.create)

    @cached_property
    def replace_adapter(self) -> TypeAdapter[BaseModel]:
        """Validates the body of a replacement."""
        return TypeAdapter(self.schemas.replace)

    @cached_property
    def update_adapter(self) -> TypeAdapter[BaseModel]:
        """Validates the body of an update."""
        return TypeAdapter(self.schemas.update)

    def encoded(self, document: object, select: Sequence[str] | None = None) -> bytes:
        """Return a document as a JSON object, with some of its fields only when *select* names them."""
        shown = self.read_adapter.validate_python(document, from_attributes=True)
        chosen = None if select is None else set(select)
        return self.read_adapter.dump_json(shown, by_alias=True, include=chosen)

    def scoped(self, tenant: object) -> MongoRepository[Any]:
        """Return the repository, confined to the tenant of a request.

        Raises:
            ProblemError: 400 when the request has no tenant, or one that the field can't hold.
        """
        name = self.resource.tenant_field
        if name is None:
            return self.repo
        if tenant is None or tenant == "":
            raise ProblemError(Problem("tenant-missing", 400, "tenant_context_missing"))
        if isinstance(tenant, str):
            try:
                tenant = self.fields[name].parse_text(tenant)
            except ValidationError:
                raise ProblemError(Problem("tenant-invalid", 400, "tenant_context_invalid")) from None
        return self.repo.scoped({name: tenant})

    def service(self, tenant: object) -> MongoService[Any]:
        """Return the service of a request, confined to its tenant."""
        return self.resource.service(self.scoped(tenant))

    def conditions(self, query: ListQuery) -> list[Filter]:
        """Return the conditions of a query string as filters."""
        return [_filter(each.name, each.operator, each.value) for each in query.where]

    def searched(self, query: ListQuery) -> list[Filter]:
        """Return the search of a query string as a condition, for what has no search of its own."""
        if query.q is None or not query.q.strip():
            return []
        return [reduce(or_, (document_field(name).icontains(query.q) for name in query.fields))]


def _filter(name: str, operator: str, value: Any) -> Filter:
    field = document_field(name)
    match operator:
        case "eq":
            return field.eq(value)
        case "ne":
            return field.ne(value)
        case "lt":
            return field.lt(value)
        case "le":
            return field.le(value)
        case "gt":
            return field.gt(value)
        case "ge":
            return field.ge(value)
        case "in":
            return field.in_(value)
        case "not_in":
            return field.not_in(value)
        case "icontains":
            return field.icontains(value)
        case "starts_with":
            return field.starts_with(value)
        case "ends_with":
            return field.ends_with(value)
        case "is_null":
            return field.is_null(value)
    raise ProblemError(Problem("invalid-query", 422, f"{name}: there is no such condition here."))


def _allowed(chosen: Sequence[str] | None, visible: Sequence[str]) -> tuple[str, ...]:
    return tuple(visible) if chosen is None else tuple(chosen)


def _schemas(resource: MongoResource[Any], fields: Mapping[str, DocumentField], noun: str) -> ResourceSchemas:
    has_hooks, about = resource.service_factory is not None, resource.model.__doc__
    read = resource.read_schema
    if read is None:
        shown: dict[str, Any] = {
            key: (field.annotation, Field(**field.about)) for key, field in fields.items() if not field.is_hidden
        }
        read = create_model(f"{noun}Read", __config__=_READ, __doc__=about, **shown)
    writable = {key: field for key, field in fields.items() if not field.is_server_owned}
    # Names that mean nothing are looked at after validation: what the server owns is dropped there, others are refused.
    config = ConfigDict(
        extra="allow", strict=True, protected_namespaces=(), json_schema_extra={"additionalProperties": has_hooks}
    )
    made: set[type[BaseModel]] = set()
    create, update = resource.create_schema, resource.update_schema
    body: dict[str, Any] = {key: (field.annotation, _required(field)) for key, field in writable.items()}
    if create is None:
        create = create_model(f"{noun}Create", __config__=config, __doc__=about, **body)
        made.add(create)
    if update is None:
        changes: dict[str, Any] = {
            key: (field.annotation, Field(default_factory=_absent, **field.about))
            for key, field in writable.items()
            if key != resource.id_attr
        }
        update = create_model(f"{noun}Update", __config__=config, __doc__=about, **changes)
        made.add(update)
    replace = create
    if resource.create_schema is None:
        whole = {key: definition for key, definition in body.items() if key != resource.id_attr}
        replace = create_model(f"{noun}Replace", __config__=config, __doc__=about, **whole)
        made.add(replace)
    owned = frozenset(fields) - frozenset(writable)
    return ResourceSchemas(read, create, update, replace, owned, takes_more=has_hooks, made=frozenset(made))


def _required(field: DocumentField) -> Any:
    if field.info.is_required():
        return Field(**field.about)
    return Field(default_factory=_absent, **field.about)


def _absent() -> None:
    """Stand in for a field that was not sent; its value is never read."""
