"""What the description of a resource says about its columns and schemas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel

from svc_infra.api.fastapi.db.sql.columns import ApiColumn, api_columns
from svc_infra.api.fastapi.db.sql.resource import ApiResource
from svc_infra.api.fastapi.db.sql.schemas import ResourceSchemas, create_schema_of, read_schema_of, update_schema_of
from svc_infra.db.sql.repository import SqlRepository

__all__ = ["columns_of", "members_of", "schemas_of", "shown_columns", "source_of"]


def source_of(schema: type[BaseModel], name: str, columns: Collection[str]) -> str:
    """Return the attribute of a record from which a read schema takes the field *name*."""
    alias = schema.model_fields[name].validation_alias
    if not isinstance(alias, str):
        return name
    takes_name = schema.model_config.get("populate_by_name") or schema.model_config.get("validate_by_name")
    # An alias that is no column, as a generator of camelCase makes them, is for JSON.
    return name if takes_name and alias not in columns and name in columns else alias


def shown_columns(schema: type[BaseModel], columns: Mapping[str, ApiColumn]) -> tuple[str, ...]:
    """Return the columns that a read schema shows."""
    shown = [source_of(schema, name, columns) for name in schema.model_fields]
    return tuple(dict.fromkeys(name for name in shown if name in columns))


def members_of(columns: Mapping[str, ApiColumn], schemas: ResourceSchemas) -> dict[str, str]:
    """Return, for each field and column of the table that is called otherwise in bodies, the member's name."""
    found: dict[str, str] = {}
    for name, column in columns.items():
        field = schemas.create.model_fields.get(name) or schemas.update.model_fields.get(name)
        alias = None if field is None else field.validation_alias
        member = alias if isinstance(alias, str) else name
        for called in (name, column.column.name):
            # Errors name fields where they are known, so what is a field is no other field's column.
            if called != member and (called == name or called not in columns):
                found[called] = member
    return found


def columns_of(resource: ApiResource[Any], repo: SqlRepository[Any]) -> dict[str, ApiColumn]:
    """Return the columns of a resource, with what the server owns of them."""
    owned: set[str] = set()
    if resource.tenant_field is not None:
        owned.add(resource.tenant_field)
    if repo.soft_delete:
        owned |= {name for name in (resource.soft_delete_field, resource.soft_delete_flag_field) if name is not None}
    if resource.version_field is not None:
        owned.add(resource.version_field)
    key = repo.fields.generated_key
    return dict(
        api_columns(
            resource.model,
            server_owned=owned,
            generated=() if key is None else (key,),
            shown=resource.public_fields,
            hidden=resource.hidden_fields,
            addresses=repo.id_fields,
        )
    )


def schemas_of(resource: ApiResource[Any], columns: dict[str, ApiColumn], noun: str) -> ResourceSchemas:
    """Return the schemas of a resource: those that it gives, and the others made of its columns and named by *noun*."""
    model, has_hooks = resource.model, resource.service_factory is not None
    read, create, update = resource.read_schema, resource.create_schema, resource.update_schema
    made: list[type[BaseModel]] = []
    if read is None:
        read = read_schema_of(model, columns, resource.read_name or f"{noun}Read", exclude=resource.read_exclude)
    if create is None:
        name = resource.create_name or f"{noun}Create"
        create = create_schema_of(model, columns, name, exclude=resource.create_exclude, takes_more=has_hooks)
        made.append(create)
    if update is None:
        name = resource.update_name or f"{noun}Update"
        update = update_schema_of(model, columns, name, exclude=resource.update_exclude, takes_more=has_hooks)
        made.append(update)
    replace = create
    if resource.create_schema is None:
        keys = {name for name, column in columns.items() if column.column.primary_key}
        excluded = keys | set(resource.create_exclude)
        replace = create_schema_of(model, columns, f"{noun}Replace", exclude=excluded, takes_more=has_hooks)
        made.append(replace)
    owned = frozenset(name for name, column in columns.items() if column.is_server_owned)
    return ResourceSchemas(read, create, update, replace, owned, takes_more=has_hooks, made=frozenset(made))
