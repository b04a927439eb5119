"""A resource made ready to serve: columns, schemas, query rules, repository and encoders, made once at set-up.

Its length is that of what is decided once here, so that no request has to.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, TypeAlias, cast

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, create_model
from starlette.requests import Request

from fastapi import Path
from svc_infra.api.fastapi.db.sql.columns import ApiColumn, api_columns
from svc_infra.api.fastapi.db.sql.described import columns_of, members_of, schemas_of, shown_columns, source_of
from svc_infra.api.fastapi.db.sql.encode import Encoder, ModelEncoder, RowEncoder
from svc_infra.api.fastapi.db.sql.nouns import noun_of
from svc_infra.api.fastapi.db.sql.query import ListQuery, ListRules
from svc_infra.api.fastapi.db.sql.resource import BODY_OF, Action, ApiResource, api_resource
from svc_infra.api.fastapi.db.sql.schemas import ResourceSchemas, examples_of, read_schema_of, selection_schema_of
from svc_infra.api.fastapi.problems import FieldError, Problem, ProblemError, invalid_request
from svc_infra.db.sql.repository import RowRepository, SqlRepository
from svc_infra.db.sql.resource import SqlResource
from svc_infra.db.sql.service import SqlService

__all__ = ["ResourceBinding"]

AnyModel: TypeAlias = Any
"""A mapped class that is known only at run time."""

logger: logging.Logger = logging.getLogger("svc_infra.api.fastapi")

_READS = ("get", "get_one", "list", "search", "count", "exists")
_CREATES = ("create", "pre_create", "post_create")
_UPDATES = ("update", "update_many", "update_each", "pre_update", "post_update")
_UPSERTS = ("upsert", "upsert_many", "pre_upsert", "post_upsert", "pre_create")
_DELETES = ("delete", "delete_many", "pre_delete", "post_delete")


@dataclass(frozen=True)
class ResourceBinding:
    """One resource and everything about it that does not change from request to request.

    Attributes:
        resource: The description that the application gave.
        noun: What the names of its schemas begin with.
        columns: The columns as the API shows them.
        schemas: The schemas of its bodies.
        rules: What its list route's query string may hold.
        repo: The repository of all tenants' rows.
    """

    resource: ApiResource[AnyModel]
    noun: str
    columns: dict[str, ApiColumn]
    schemas: ResourceSchemas
    rules: ListRules
    repo: SqlRepository[AnyModel]

    @classmethod
    def of(cls, described: SqlResource[AnyModel], noun: str | None = None) -> ResourceBinding:
        """Make everything that a resource needs; mistakes in its description are raised here, at set-up.

        Args:
            described: The resource.
            noun: What the names of its schemas begin with; None for the model's name.
        """
        resource = api_resource(described)
        noun = noun or resource.model.__name__
        repo = resource.repository()
        columns = columns_of(resource, repo)
        schemas = schemas_of(resource, columns, noun)
        keeps_reads = _keeps(type(resource.service(repo)), _READS)
        # What responses don't show can't be asked for either, or its value could be found out by asking.
        shown = shown_columns(schemas.read, columns)
        visible = [name for name in shown if columns[name].is_comparable and not columns[name].is_hidden]
        deferred = [name for name in shown if repo.fields.mapper.column_attrs[name].deferred]
        if deferred:
            repo = repo.loading(*deferred)  # an object is shown after its session has ended
        rules = ListRules(
            columns,
            filter_fields=_allowed(resource.allowed_filter_fields, visible),
            order_fields=_allowed(resource.allowed_order_fields, visible),
            order_default=_terms(resource.ordering_default),
            search_fields=tuple(resource.search_fields or ()),
            select_fields=tuple(schemas.read.model_fields) if keeps_reads else (),
            has_cursor=keeps_reads,
            relations=tuple(resource.include) if keeps_reads else (),
            limit_default=resource.limit_default,
            limit_max=resource.limit_max,
            total_default=resource.total_default,
            document_operators=resource.allowed_filter_fields is not None,
        )
        binding = cls(resource, noun, columns, schemas, rules, repo)
        binding.report_hidden()
        return binding

    def for_action(self, action: Action) -> ResourceBinding:
        """Return the binding with the schemas and hooks that the action has of its own."""
        options = self.resource.options(action)
        resource, schemas, rules = self.resource, self.schemas, self.rules
        if options.read_schema is not None:
            resource = replace(resource, read_schema=options.read_schema)
            schemas = replace(schemas, read=options.read_schema)
            # The schema says what the action shows; its members need not be columns that a query could name.
            rules = replace(rules, select_fields=(), _cache={})
        if options.body_schema is not None:
            body: dict[str, Any] = {BODY_OF[action]: options.body_schema}
            schemas = replace(schemas, **body)
            if "create" in body:
                resource = replace(resource, create_schema=options.body_schema)
        if options.service_factory is not None:
            resource = replace(resource, service_factory=options.service_factory)
            schemas = replace(schemas, takes_more=True)
        if resource is self.resource and schemas is self.schemas:
            return self
        return replace(self, resource=resource, schemas=schemas, rules=rules)

    @cached_property
    def tagged_names(self) -> tuple[str, ...]:
        """The columns that an ETag is made of; none where it is made of the JSON that the action shows.

        Actions that show a record differently have to agree on its ETag all the same.
        """
        if not any(options.read_schema is not None for options in self.resource.routes.values()):
            return ()
        return tuple(name for name, column in self.columns.items() if not column.is_hidden)

    @cached_property
    def tagged_encoder(self) -> RowEncoder:
        """Serialises `tagged_names`."""
        return RowEncoder(self.columns, self.tagged_names)

    def report_hidden(self) -> None:
        """Say in the log which columns are never shown, since their names alone may have decided it."""
        hidden = sorted(name for name, column in self.columns.items() if column.is_hidden)
        if hidden and self.resource.read_schema is None:
            logger.info(
                "%s: responses never show %s; a column that is meant to be seen gets info={'public': True}",
                self.resource.prefix,
                ", ".join(hidden),
            )

    @cached_property
    def version_field(self) -> str | None:
        """The field that counts the versions of a row, or None."""
        counted = self.repo.fields.mapper.version_id_col
        return self.resource.version_field or (None if counted is None else self.repo.fields.name_of(counted))

    @cached_property
    def id_columns(self) -> tuple[ApiColumn, ...]:
        """The columns of the id, in the order of the path."""
        return tuple(self.columns[name] for name in self.repo.id_fields)

    @cached_property
    def id_path(self) -> str:
        """The part of the path that addresses a row, such as `/{id}`."""
        return "".join(f"/{{{column.name}}}" for column in self.id_columns)

    @cached_property
    def id_parameters(self) -> dict[str, object]:
        """Name and annotation of each path parameter."""
        found: dict[str, object] = {}
        for column in self.id_columns:
            shown = examples_of(column.examples)
            about = Path(description=column.description or "Which record.", openapi_examples=shown)
            found[column.name] = Annotated[cast("Any", column.parameter_type), about]
        return found

    def parse_id(self, request: Request) -> object:
        """Return the id in the path, of the type of its column; a tuple for a composite one.

        Raises:
            ProblemError: 422 when a part is no value of its column.
        """
        texts = request.path_params
        parts: list[object] = []
        errors: list[FieldError] = []
        for column in self.id_columns:
            try:
                parts.append(column.parse_text(texts[column.name]))
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False, include_context=False)[0]
                errors.append({"loc": ["path", column.name], "msg": first["msg"], "type": first["type"]})
        if errors:
            raise ProblemError(invalid_request(errors))
        return parts[0] if len(parts) == 1 else tuple(parts)

    def scope(self, tenant: object) -> dict[str, object]:
        """Return the values that confine the repository to the tenant of a request.

        Raises:
            ProblemError: 400 when the request has no tenant, or one that its column can't hold.
        """
        name = self.resource.tenant_field
        if name is None:
            return {}
        if tenant is None or tenant == "":
            raise ProblemError(Problem("tenant-missing", 400, "tenant_context_missing"))
        if isinstance(tenant, str):
            try:
                tenant = self.columns[name].parse_text(tenant)
            except ValidationError:
                raise ProblemError(Problem("tenant-invalid", 400, "tenant_context_invalid")) from None
        return {name: tenant}

    @cached_property
    def service_type(self) -> type[SqlService[AnyModel]]:
        """The class of the services that the resource's factory makes."""
        return type(self.resource.service(self.repo))

    def keeps(self, *names: str) -> bool:
        """Whether the service leaves these of its methods as they are."""
        return _keeps(self.service_type, names)

    @cached_property
    def keeps_reads(self) -> bool:
        """Whether the service leaves reads as they are, so that they may go past it."""
        return self.keeps(*_READS)

    @cached_property
    def reads_rows(self) -> bool:
        """Whether reads need no objects: the service leaves them as they are, and columns are all that is shown."""
        return self.keeps_reads and self.shows_columns

    @cached_property
    def creates_rows(self) -> bool:
        """Whether a create needs no object."""
        return self.keeps(*_CREATES) and self.shows_columns

    @cached_property
    def updates_rows(self) -> bool:
        """Whether an update needs no object."""
        return self.keeps(*_UPDATES) and self.shows_columns

    @cached_property
    def upserts_rows(self) -> bool:
        """Whether an upsert needs no object."""
        return self.keeps(*_UPSERTS) and self.shows_columns

    @cached_property
    def deletes_rows(self) -> bool:
        """Whether a delete needs no service."""
        return self.keeps(*_DELETES)

    @property
    def writes_alone(self) -> bool:
        """Whether a write of a row needs no session: the ORM has nothing to call or to load for it.

        It has for a constructor, a validator or listener of the model's own, for inheritance and the like. Listeners
        may come late, so this is not kept; `Database.lone()` sees to those of the class of sessions.
        """
        fields = self.repo.fields
        return fields.reads_directly(None) and fields.writes_directly(None)

    @property
    def deletes_alone(self) -> bool:
        """Whether a delete needs no session: there is none that the ORM would hand on to related rows."""
        return self.writes_alone and (self.repo.soft_delete or not self.repo.fields.cascades_deletes)

    @cached_property
    def upsert_key(self) -> tuple[str, ...]:
        """The fields by which a bulk upsert knows a record.

        Raises:
            ValueError: A request body can't hold one of them.
        """
        names = tuple(self.repo.id_fields if self.resource.upsert_on is None else self.resource.upsert_on)
        self.repo.fields.require(names, use="the key of an upsert")
        unwritable = [name for name in names if name not in self.schemas.create.model_fields]
        if unwritable:
            raise ValueError(
                f"{self.resource.prefix}: a bulk upsert knows a record by {', '.join(names)}, but a body can't hold"
                f" {', '.join(unwritable)}; name the fields of a unique key in upsert_on"
            )
        return names

    @cached_property
    def body_members(self) -> dict[str, str]:
        """For each field and column that is called otherwise in bodies, the member's name."""
        return members_of(self.columns, self.schemas)

    @cached_property
    def shows_columns(self) -> bool:
        """Whether the read schema shows nothing but columns."""
        schema = self.schemas.read
        return all(source_of(schema, name, self.columns) in self.columns for name in schema.model_fields)

    @cached_property
    def shown_names(self) -> tuple[str, ...]:
        """The columns that responses show."""
        return shown_columns(self.schemas.read, self.columns)

    @cached_property
    def text_members(self) -> dict[str, bool]:
        """For each column whether its JSON is always a text, so that a CSV cell of it needs no quotes of JSON."""
        return {name: column.is_json_text for name, column in self.columns.items()}

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """The fields of a row as routes read it: what is shown, then what else they need of it."""
        needed = [*self.repo.id_fields, self.version_field, *self.tagged_names]
        more = dict.fromkeys(name for name in needed if name is not None and name not in self.shown_names)
        return (*self.shown_names, *more)

    @cached_property
    def encoder(self) -> Encoder:
        """Serialises what reads return."""
        if self.resource.read_schema is None:
            return RowEncoder(self.columns, self.row_names, len(self.shown_names))
        return ModelEncoder(self.schemas.read)

    @cached_property
    def object_encoder(self) -> Encoder:
        """Serialises objects of the model."""
        return ModelEncoder(self.schemas.read)

    @cached_property
    def _relation_types(self) -> dict[str, object]:
        """The annotation of each relationship that reads may add."""
        found: dict[str, object] = {}
        for name in self.resource.include:
            relation = self.repo.fields.mapper.relationships[name]
            target = relation.mapper.class_
            item: Any = read_schema_of(target, api_columns(target), f"{self.noun}{noun_of(name)}Included")
            found[name] = list[item] if relation.uselist else item | None
        return found

    @cached_property
    def documented_read(self) -> type[BaseModel]:
        """The read schema with the relationships that may be added to it."""
        if not self.resource.include:
            return self.schemas.read
        optional: dict[str, Any] = {
            name: (kind, Field(default_factory=list, description="Present when `include` names it."))
            for name, kind in self._relation_types.items()
        }
        return create_model(f"{self.schemas.read.__name__}Including", __base__=self.schemas.read, **optional)

    @cached_property
    def documented_selection(self) -> type[BaseModel] | None:
        """The schema of a record of which `select` names some fields, or None where there is no `select`."""
        if not self.rules.select_fields:
            return None
        return selection_schema_of(self.documented_read, self.rules.select_fields)

    def _including(self, relations: tuple[str, ...], selected: tuple[str, ...] | None) -> Encoder:
        """Return what encodes objects together with *relations*, of their own fields the *selected* ones."""
        found = self._including_encoders.get(relations)
        if found is None:
            added: dict[str, Any] = {name: (self._relation_types[name], ...) for name in relations}
            schema = create_model("Including", __base__=self.schemas.read, **added)
            found = self._including_encoders[relations] = ModelEncoder(schema)
        return found if selected is None else found.showing((*selected, *relations))

    @cached_property
    def _including_encoders(self) -> dict[tuple[str, ...], ModelEncoder]:
        return {}

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

    @cached_property
    def _all_rows(self) -> RowRepository[AnyModel]:
        return self.repo.rows_of(*self.row_names)

    def rows(self, tenant: object) -> RowRepository[AnyModel]:
        """Return the row form of the repository, confined to the tenant of a request."""
        if self.resource.tenant_field is None:
            return self._all_rows
        return self.repo.scoped(self.scope(tenant)).rows_of(*self.row_names)

    def scoped(self, tenant: object) -> SqlRepository[AnyModel]:
        """Return the repository, confined to the tenant of a request."""
        return self.repo if self.resource.tenant_field is None else self.repo.scoped(self.scope(tenant))

    def source(self, query: ListQuery, tenant: object) -> tuple[Any, Encoder]:
        """Return what reads the records of *query*, and what encodes them."""
        if not self.keeps_reads:
            return self.service(tenant), self.object_encoder
        if query.include:
            return self.scoped(tenant).loading(*query.include), self._including(query.include, query.select)
        if query.select is not None:
            return self._selecting(query.select, tenant)
        if self.reads_rows:
            return self.rows(tenant), self.encoder
        return self.scoped(tenant), self.object_encoder

    def _selecting(self, names: tuple[str, ...], tenant: object) -> tuple[Any, Encoder]:
        if self.resource.read_schema is None:
            return self.scoped(tenant).rows_of(*names), self._choosing(names)
        # The application's own schema may change what it shows, so it is made in full and then cut down.
        return self.rows(tenant) if self.reads_rows else self.scoped(tenant), self._choosing(names)

    def _choosing(self, names: tuple[str, ...]) -> Encoder:
        found = self._chosen.get(names)
        if found is None:
            if len(self._chosen) >= 64:
                self._chosen.clear()
            is_made = self.resource.read_schema is None
            found = RowEncoder(self.columns, names) if is_made else ModelEncoder(self.schemas.read, only=names)
            self._chosen[names] = found
        return found

    @cached_property
    def _chosen(self) -> dict[tuple[str, ...], Encoder]:
        return {}

    def service(self, tenant: object) -> SqlService[AnyModel]:
        """Return the service of a request, confined to its tenant."""
        return self.resource.service(self.scoped(tenant))


def _keeps(service: type[SqlService[AnyModel]], names: Sequence[str]) -> bool:
    return all(getattr(service, name, None) is getattr(SqlService, name) for name in names)


def _allowed(chosen: Sequence[str] | None, visible: Sequence[str]) -> tuple[str, ...]:
    return tuple(visible) if chosen is None else tuple(chosen)


def _terms(order: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (order or "").split(",") if part.strip())
