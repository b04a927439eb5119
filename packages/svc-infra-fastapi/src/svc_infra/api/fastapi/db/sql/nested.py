"""A create that brings related records along, in one transaction.

    POST /orders {"customer": "Ann", "items": [{"sku": "a"}, {"sku": "b", "count": 2}]}

for `ApiResource(model=Order, prefix="/orders", nested=["items"])`. The foreign key, the tenant and what else the server
owns of a related record can't be written. An error says where it stands: `["body", "items", 1, "sku"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, cast

from pydantic import BaseModel, Field, TypeAdapter, create_model
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import RelationshipDirection, RelationshipProperty
from starlette.responses import Response

from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.api.fastapi.db.sql.body import parse_json
from svc_infra.api.fastapi.db.sql.encode import Encoder
from svc_infra.api.fastapi.db.sql.item_problems import CountedRows, item_at
from svc_infra.api.fastapi.db.sql.nouns import noun_of
from svc_infra.api.fastapi.db.sql.operations import Create, json_response, location_of
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.db.sql.route import Call
from svc_infra.api.fastapi.db.sql.schemas import ResourceSchemas, create_schema_of, written_fields
from svc_infra.db.sql.resource import SqlResource

__all__ = ["NestedCreate"]


@dataclass(frozen=True)
class NestedRelation:
    """A relationship whose records a create may bring along.

    Attributes:
        name: Its name, which is also the JSON member's.
        binding: How a related record is written and shown.
        links: Field of the related record that refers, by the field of the parent that it refers to.
        is_many: Whether there may be more than one record.
    """

    name: str
    binding: ResourceBinding
    links: Mapping[str, str]
    is_many: bool

    def body_field(self, max_items: int) -> tuple[Any, Any]:
        """Return annotation and field of the member in the body."""
        body: Any = self.binding.schemas.create
        if not self.is_many:
            return body | None, Field(None, description="The related record to create.")
        many = cast("Any", list)[body]
        return Annotated[many, Field(max_length=max_items)], Field([], description="Related records to create.")

    def shown_field(self) -> tuple[Any, Any]:
        """Return annotation and field of the member in the answer."""
        shown: Any = self.binding.schemas.read
        return (cast("Any", list)[shown] if self.is_many else shown | None), ...

    def written(self, body: BaseModel) -> list[tuple[int, dict[str, object]]]:
        """Take the records out of the body, without what refers to the parent.

        Raises:
            ProblemError: 422 for names that mean nothing.
        """
        given = getattr(body, self.name)
        found: list[tuple[int, dict[str, object]]] = []
        for index, item in enumerate(given if self.is_many else [given] if given is not None else []):
            with item_at(self.name, index if self.is_many else None):
                found.append((index, written_fields(item, self.binding.schemas)))
        return found

    async def create(
        self,
        session: AsyncSession,
        tenant: object,
        rows: list[tuple[int, dict[str, object]]],
        parent: dict[str, object],
    ) -> bytes:
        """Create the records of *parent*, whose fields by the names of `links` are given; return their JSON.

        Raises:
            ProblemError: The database or a hook refuses one.
        """
        binding = self.binding
        complete = [(place, {**row, **parent}) for place, row in rows]
        counted = CountedRows(complete, within=(self.name,))
        is_direct = binding.creates_rows and binding.keeps("create_many")
        target: Any = binding.rows(tenant) if is_direct else binding.service(tenant)
        encoder: Encoder = binding.encoder if is_direct else binding.object_encoder
        with counted.located():
            if is_direct or binding.keeps("create"):
                records = await target.create_many(session, counted)
            else:
                records = [await target.create(session, row) for row in counted]
        if self.is_many:
            return encoder.many(records)
        return encoder.one(records[0]) if records else b"null"


class NestedCreate(Create):
    """Create a record together with related ones."""

    def __init__(self, binding: ResourceBinding) -> None:
        super().__init__(binding)
        resource, schemas = binding.resource, binding.schemas
        given = resource.nested
        described = given if isinstance(given, Mapping) else dict.fromkeys(given)
        self.relations: list[NestedRelation] = [_relation(binding, name, child) for name, child in described.items()]
        limit = resource.max_nested_items
        members: dict[str, Any] = {relation.name: relation.body_field(limit) for relation in self.relations}
        self._body = create_model(f"{binding.noun}CreateNested", __base__=schemas.create, **members)
        more: dict[str, Any] = {relation.name: relation.shown_field() for relation in self.relations}
        self._shown = create_model(f"{binding.noun}ReadNested", __base__=schemas.read, **more)
        self._adapter: TypeAdapter[BaseModel] = TypeAdapter(self._body)
        made = schemas.made | ({self._body} if schemas.create in schemas.made else set())
        self._schemas = replace(schemas, create=self._body, made=made)

    @property
    def body_schema(self) -> type[BaseModel]:
        """The schema of the body."""
        return self._body

    @property
    def shown_schema(self) -> type[BaseModel]:
        """The schema of the answer."""
        return self._shown

    async def __call__(self, call: Call) -> Response:
        """Create the record and the related ones that the body describes, all or none, and answer them."""
        binding = self.binding
        body = await parse_json(call.request, self._adapter, binding.resource.max_body_bytes)
        data = written_fields(body, self._schemas)
        nested = [relation.written(body) for relation in self.relations]
        for relation in self.relations:
            data.pop(relation.name, None)
        referred = {name for relation in self.relations for name in relation.links}
        direct = binding.creates_rows and referred <= set(binding.row_names)
        target: Any = binding.rows(call.tenant) if direct else binding.service(call.tenant)
        encoder = binding.encoder if direct else binding.object_encoder
        async with call.open_session() as session:
            record = await target.create(session, data)
            content, etag = self.encoded(encoder, record)
            location = location_of(call, binding, encoder, record)
            values = {name: encoder.member(record, name) for name in referred}
            for relation, rows in zip(self.relations, nested, strict=True):
                parent = {own: values[name] for name, own in relation.links.items()}
                found = await relation.create(session, call.tenant, rows, parent)
                content = b'%b,"%b":%b}' % (content[:-1], relation.name.encode(), found)
        return json_response(content, 201, {"Location": location, "ETag": etag})


def _relation(parent: ResourceBinding, name: str, described: SqlResource[Any] | None) -> NestedRelation:
    mapper = parent.repo.fields.mapper
    if name not in mapper.relationships:
        raise ValueError(f"{parent.resource.prefix}: nested {name!r} is no relationship of {mapper.class_.__name__}")
    relation: RelationshipProperty[Any] = mapper.relationships[name]
    if relation.direction is not RelationshipDirection.ONETOMANY or relation.viewonly:
        raise ValueError(f"{parent.resource.prefix}: nested {name!r} must be a one-to-many relationship to be written")
    child = described or _described(parent, name, relation.mapper.class_)
    if child.model is not relation.mapper.class_:
        raise ValueError(f"{parent.resource.prefix}: nested {name!r} is of {relation.mapper.class_.__name__}")
    if isinstance(child, ApiResource) and child.nested:
        raise ValueError(
            f"{parent.resource.prefix}: nested {name!r} has nested records of its own; one level is served"
        )
    if parent.resource.tenant_field is not None and child.tenant_field is None:
        looked = parent.resource.tenant_field
        if looked in relation.mapper.column_attrs:
            raise ValueError(f"{parent.resource.prefix}: nested {name!r} has {looked!r}; say so by its tenant_field")
    binding = ResourceBinding.of(child, f"{parent.noun}{noun_of(name)}")
    links: dict[str, str] = {}
    for local, remote in relation.local_remote_pairs or ():
        links[mapper.get_property_by_column(local).key] = relation.mapper.get_property_by_column(remote).key
    return NestedRelation(name, replace(binding, schemas=_schemas(binding, links)), links, bool(relation.uselist))


def _described(parent: ResourceBinding, name: str, model: type[Any]) -> SqlResource[Any]:
    """Return the resource of related records that were named only: tenant and soft delete are as the parent's."""
    resource, fields = parent.resource, SqlResource(model=model, prefix="/x").repository().fields.columns
    has_tenant = resource.tenant_field is not None and resource.tenant_field in fields
    return SqlResource(
        model=model,
        prefix=f"{resource.prefix}/{name}",
        tenant_field=resource.tenant_field if has_tenant else None,
        soft_delete=resource.soft_delete and resource.soft_delete_field in fields,
        soft_delete_field=resource.soft_delete_field,
    )


def _schemas(child: ResourceBinding, links: Mapping[str, str]) -> ResourceSchemas:
    schemas, resource = child.schemas, child.resource
    if resource.create_schema is not None:
        return schemas
    made = create_schema_of(
        resource.model,
        child.columns,
        resource.create_name or f"{child.noun}Create",
        exclude={*resource.create_exclude, *links.values()},
        takes_more=schemas.takes_more,
    )
    return replace(schemas, create=made, made=schemas.made | {made}, ignored=schemas.ignored | set(links.values()))
