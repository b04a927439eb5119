"""How the columns of a model appear in a public API: their JSON types, which are secret, which the server owns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from typing import Annotated, Any, Final, cast

import sqlalchemy as sa
from pydantic import AfterValidator, Field, JsonValue, TypeAdapter
from pydantic_core import PydanticCustomError

from svc_infra.api.fastapi.db.sql.postgres_types import has_order
from svc_infra.api.fastapi.db.sql.value_types import body_type, response_type, text_type

__all__ = ["ApiColumn", "api_columns", "is_text_schema", "looks_secret"]

_SECRET_NAME: Final = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|api_?key|private_?key|access_?key|credentials?|salt)(_|$)"
    r"|(^|_)token$|_(hash|digest)$|^(otp|totp|mfa|pin|cvv)(_|$)",
    re.IGNORECASE,
)
_DERIVED_NAME: Final = re.compile(r"_(hash|digest|salt)$", re.IGNORECASE)

_TIMESTAMP_NAMES: Final = frozenset({"created_at", "updated_at"})


_NO_DOTS: Final[dict[str, Any]] = {"not": {"enum": [".", ".."]}}


def _addressable(text: str) -> str:
    """Refuse the ids that a path can't hold: clients resolve them, encoded or not, before they send it (RFC 3986)."""
    if text in {".", ".."}:
        raise PydanticCustomError("address_dots", "Input should not be . or .., which no path can address")
    return text


def looks_secret(name: str) -> bool:
    """Whether a name says that what it stands for is a secret, such as `password_hash` or `api_key`."""
    return _SECRET_NAME.search(name) is not None


def is_text_schema(schema: dict[str, Any]) -> bool:
    """Whether a JSON schema describes texts and null and nothing else."""
    names = schema.get("$defs", {})
    kinds: list[dict[str, Any]] = schema.get("anyOf", [schema])
    named = [names[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind for kind in kinds]
    return all(kind.get("type") in {"string", "null"} for kind in named)


@dataclass(frozen=True)
class ApiColumn:
    """One column of a model as a public API shows it.

    Attributes:
        name: The mapped attribute's name, which is also the JSON member's.
        column: The table's column.
        is_hidden: Never shown: declared by `info={"hidden": True}`, or its name says that it holds a secret and
            `info={"public": True}` does not say otherwise.
        is_server_owned: Set by the server alone; a value in a request body is ignored.
        is_generated: The repository makes a value when none is given.
        is_address: Stands in the path of a record, where no text can be empty.
    """

    name: str
    column: sa.Column[object]
    is_hidden: bool
    is_server_owned: bool
    is_generated: bool = False
    is_address: bool = False

    @property
    def is_derived_secret(self) -> bool:
        """Whether the name says that a hook computes it from another input, such as `password_hash`."""
        return self.is_hidden and _DERIVED_NAME.search(self.name) is not None

    @property
    def is_required(self) -> bool:
        """Whether a new row can't do without a value from the caller."""
        column = self.column
        return not (
            self.is_generated
            or column.nullable
            or column.default is not None
            or column.server_default is not None
            or column.computed is not None
            or column.identity is not None
            or column is getattr(column.table, "autoincrement_column", None)
        )

    @cached_property
    def read_type(self) -> object:
        """The annotation of the value in a response."""
        found = response_type(self.column.type)
        return found | None if self.column.nullable else found  # type: ignore[operator]

    @cached_property
    def write_type(self) -> object:
        """The annotation of the value in a request body, with the limits of the column."""
        found: Any = body_type(self.column.type)
        if self.is_address and self.is_text:
            found = Annotated[found, Field(min_length=1, json_schema_extra=_NO_DOTS), AfterValidator(_addressable)]
        return found | None if self.column.nullable else found

    @cached_property
    def parameter_type(self) -> object:
        """The annotation of the value in a path or a query string, with the limits of the column."""
        return text_type(self.column.type)

    @cached_property
    def text_parser(self) -> TypeAdapter[object]:
        """Parses the value from a path or a query string, within the limits of the column."""
        return TypeAdapter(cast("Any", self.parameter_type))

    def describe(self) -> dict[str, Any]:
        """Return the JSON schema of a value in a query string."""
        return self.text_parser.json_schema(mode="validation")

    def parse_text(self, text: str) -> object:
        """Return the value that *text*, from a path or a query string, stands for.

        Raises:
            pydantic.ValidationError: It is no value of the column's type, or outside of its limits.
        """
        return self.text_parser.validate_strings(text)

    @property
    def is_comparable(self) -> bool:
        """Whether the database can order and compare its values on every dialect; JSON and binary data it can't."""
        kind = self.column.type
        is_ordered = not isinstance(kind, (sa.JSON, sa.LargeBinary, sa.ARRAY)) and has_order(kind)
        return is_ordered and self.read_type is not JsonValue

    @property
    def is_text(self) -> bool:
        """Whether the column holds text that can be searched."""
        return isinstance(self.column.type, sa.String) and not isinstance(self.column.type, sa.Enum)

    @property
    def is_nullable(self) -> bool:
        """Whether the column may hold NULL."""
        return bool(self.column.nullable)

    @property
    def is_json_text(self) -> bool:
        """Whether the value in a response is a text or null and nothing else."""
        return is_text_schema(TypeAdapter(cast("Any", self.read_type)).json_schema(mode="serialization"))

    @property
    def description(self) -> str | None:
        """What the column's `doc` or `comment` says."""
        return self.column.doc or self.column.comment

    @property
    def examples(self) -> list[object] | None:
        """The examples in the column's `info["examples"]` or `info["example"]`."""
        info = self.column.info
        if "examples" in info:
            return list(info["examples"])
        return [info["example"]] if "example" in info else None


def api_columns(
    model: type[object],
    *,
    server_owned: Collection[str] = (),
    generated: Collection[str] = (),
    shown: Collection[str] = (),
    hidden: Collection[str] = (),
    addresses: Collection[str] = (),
) -> Mapping[str, ApiColumn]:
    """Return the columns of *model* by attribute name, in the order of the table.

    Args:
        model: A mapped class.
        server_owned: Attributes that no request may write, besides the ones that are recognised: created_at and
            updated_at, the version column, the one that tells classes of an inheritance apart, computed columns, and
            primary keys that the database or a default fills.
        generated: Attributes that the repository fills when no value is given; one called `id` the server owns.
        shown: Attributes to be shown although their names look secret.
        hidden: Further attributes that are never shown.
        addresses: Attributes that make the id in a path.
    """
    mapper = sa.inspect(model, raiseerr=True)
    defaults = {
        each.name
        for each in (fields(model) if is_dataclass(model) else ())
        if each.default is not MISSING or each.default_factory is not MISSING
    }
    found: dict[str, ApiColumn] = {}
    for attribute in mapper.column_attrs:
        # Of the columns of an inherited key it is the base's that the database fills.
        column = next((each for each in attribute.columns if each in mapper.primary_key), attribute.columns[0])
        if not isinstance(column, sa.Column):
            continue
        name = attribute.key
        if name.startswith("_"):
            continue  # private to the model, and no name of a field in Pydantic
        is_secret = looks_secret(name) and not column.info.get("public")
        is_hidden = name in hidden or bool(column.info.get("hidden")) or (is_secret and name not in shown)
        is_generated = name in generated or name in defaults
        entry = ApiColumn(name, column, is_hidden, is_server_owned=False)
        owned = (
            name in server_owned
            or name in _TIMESTAMP_NAMES
            or column is mapper.version_id_col
            or column is mapper.polymorphic_on
            or column.computed is not None
            or (column.primary_key and not entry.is_required)
            or (is_generated and name == "id")
        )
        found[name] = ApiColumn(name, column, is_hidden, owned, is_generated, name in addresses)
    return found
