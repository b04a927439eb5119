"""How the fields of a document appear in a public API: which are secret, which can be compared, how text is parsed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Final, cast
from uuid import UUID

from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo

from svc_infra.api.fastapi.db.sql.columns import is_text_schema, looks_secret
from svc_infra.db.nosql.mongo.resource import MongoResource

__all__ = ["DocumentField", "document_fields"]

_SCALARS: Final = frozenset({"string", "integer", "number", "boolean", "null"})
_ID_TYPES: Final[Mapping[str, object]] = {
    "objectid": str,
    "str": Annotated[str, Field(min_length=1)],
    "int": int,
    "uuid": UUID,
}


@dataclass(frozen=True)
class DocumentField:
    """One field of a document.

    Attributes:
        name: Its name.
        annotation: The type of its value, with its limits.
        info: What Pydantic knows of it.
        is_hidden: Never shown.
        is_server_owned: Set by the server alone; a value in a request body is ignored.
    """

    name: str
    annotation: Any
    info: FieldInfo
    is_hidden: bool
    is_server_owned: bool

    @property
    def description(self) -> str | None:
        """What the model says that it means."""
        return self.info.description

    @property
    def examples(self) -> list[object] | None:
        """The examples that the model gives."""
        return self.info.examples

    @property
    def about(self) -> dict[str, Any]:
        """What the model says for people, as the arguments that Pydantic's `Field` has for it."""
        info = self.info
        return {
            "title": info.title,
            "description": info.description,
            "examples": info.examples,
            "deprecated": info.deprecated,
            "json_schema_extra": info.json_schema_extra,
        }

    @property
    def write_type(self) -> object:
        """The annotation of the value in a request body."""
        return self.annotation

    @cached_property
    def text_parser(self) -> TypeAdapter[object]:
        """Parses the value from a query string, within the limits of the field."""
        return TypeAdapter(cast("Any", self.annotation))

    def describe(self) -> dict[str, Any]:
        """Return the JSON schema of a value in a query string, which refers to no other schema."""
        schema = self.text_parser.json_schema(mode="validation")
        found: dict[str, Any] = _inlined(schema, schema.pop("$defs", {}))
        return found

    def parse_text(self, text: str) -> object:
        """Return the value that *text* stands for.

        Raises:
            pydantic.ValidationError: It is no value of the field.
        """
        return self.text_parser.validate_strings(text)

    @cached_property
    def _types(self) -> frozenset[str]:
        schema = self.text_parser.json_schema()
        definitions = schema.get("$defs", {})
        found: set[str] = set()
        for part in schema.get("anyOf", [schema]):
            resolved = definitions.get(str(part.get("$ref", "")).rpartition("/")[2], part)
            kind = resolved.get("type", "other" if "enum" not in resolved else "string")
            found |= set(kind) if isinstance(kind, list) else {kind}
        return frozenset(found)

    @property
    def is_comparable(self) -> bool:
        """Whether values can be ordered and compared: no arrays and no embedded documents."""
        return self._types <= _SCALARS

    @property
    def is_text(self) -> bool:
        """Whether it holds text that can be searched."""
        return self._types <= {"string", "null"} and "format" not in self.text_parser.json_schema()

    @cached_property
    def is_json_text(self) -> bool:
        """Whether the value in a response is a text or null and nothing else."""
        return is_text_schema(self.text_parser.json_schema(mode="serialization"))

    @property
    def is_nullable(self) -> bool:
        """Whether it may be null."""
        return "null" in self._types


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return *schema* with each reference replaced by what it refers to; no scalar's schema refers to itself."""
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    referred = definitions.get(str(schema.get("$ref", "")).rpartition("/")[2])
    if referred is not None:
        schema = {**referred, **{name: value for name, value in schema.items() if name != "$ref"}}
    return {name: _inlined(value, definitions) for name, value in schema.items()}


def document_fields(resource: MongoResource[Any]) -> dict[str, DocumentField]:
    """Return the fields of a resource's model by name, in the order of the model."""
    owned = {resource.tenant_field, resource.version_field}
    if resource.soft_delete:
        owned.add(resource.soft_delete_field)
    if resource.timestamps:
        owned |= {"created_at", "updated_at"}
    if resource.id_type in {"objectid", "uuid"}:
        owned.add(resource.id_attr)
    found: dict[str, DocumentField] = {}
    for name, info in resource.fields.items():
        secret = looks_secret(name) and name not in resource.public_fields
        is_id = name == resource.id_attr
        annotation = _ID_TYPES[resource.id_type] if is_id else info.rebuild_annotation()
        found[name] = DocumentField(name, annotation, info, name in resource.hidden_fields or secret, name in owned)
    return found
