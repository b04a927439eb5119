"""How the columns of a model appear in a public API: their JSON types, which are secret, which the server owns."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Final, Literal, cast
from uuid import UUID

import sqlalchemy as sa
from pydantic import AfterValidator, AwareDatetime, Field, JsonValue, PlainSerializer, TypeAdapter, WithJsonSchema

__all__ = ["ApiColumn", "api_columns"]

_SECRET_NAME: Final = re.compile(
    r"(^|_)(password|passwd|passphrase|secret|api_?key|private_?key|access_?key|credentials?|salt)(_|$)"
    r"|(^|_)token$|_(hash|digest)$|^(otp|totp|mfa|pin|cvv)(_|$)",
    re.IGNORECASE,
)
_DERIVED_NAME: Final = re.compile(r"_(hash|digest|salt)$", re.IGNORECASE)

# PostgreSQL and MySQL hold integers of these sizes; SQLite's are 64 bits whatever the declared type.
_INTEGER_BITS: Final[tuple[tuple[type[sa.types.TypeEngine[int]], int], ...]] = (
    (sa.SmallInteger, 16),
    (sa.BigInteger, 64),
    (sa.Integer, 32),
)

_TIMESTAMP_NAMES: Final = frozenset({"created_at", "updated_at"})


def _naive(value: datetime) -> datetime:
    return value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


_NaiveDatetime = Annotated[
    datetime,
    AfterValidator(_naive),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="validation"),
    WithJsonSchema({"type": "string", "description": "Date and time without offset"}, mode="serialization"),
]
# SQLite stores no offset: what was written with one comes back as UTC without one.
_AwareDatetime = Annotated[datetime, PlainSerializer(_aware, return_type=datetime)]
# The configuration of the outermost type decides how Pydantic writes bytes, so the type itself has to say it.
_Base64 = Annotated[
    bytes,
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
# No database of ours can hold NUL in a text.
_NO_NUL: Final = r"^[^\x00]*$"


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
    """

    name: str
    column: sa.Column[object]
    is_hidden: bool
    is_server_owned: bool
    is_generated: bool = False

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
        found = _json_type(self.column.type, write=False)
        return found | None if self.column.nullable else found  # type: ignore[operator]

    @cached_property
    def write_type(self) -> object:
        """The annotation of the value in a request body, with the limits of the column."""
        found = _json_type(self.column.type, write=True)
        return found | None if self.column.nullable else found  # type: ignore[operator]

    @cached_property
    def parameter_type(self) -> object:
        """The annotation of the value in a path."""
        return _json_type(self.column.type, write=True)

    @cached_property
    def text_parser(self) -> TypeAdapter[object]:
        """Parses the value from a path or a query string, within the limits of the column."""
        return TypeAdapter(cast("Any", self.parameter_type))

    def parse_text(self, text: str) -> object:
        """Return the value that *text*, from a path or a query string, stands for.

        Raises:
            pydantic.ValidationError: It is no value of the column's type, or outside of its limits.
        """
        return self.text_parser.validate_strings(text)

    @property
    def is_comparable(self) -> bool:
        """Whether the database can order and compare its values on every dialect; JSON and binary data it can't."""
        return not isinstance(self.column.type, (sa.JSON, sa.LargeBinary, sa.ARRAY)) and self.read_type is not JsonValue

    @property
    def is_text(self) -> bool:
        """Whether the column holds text that can be searched."""
        return isinstance(self.column.type, sa.String) and not isinstance(self.column.type, sa.Enum)

    @property
    def is_json_text(self) -> bool:
        """Whether the value in a response is a text or null and nothing else."""
        schema = TypeAdapter(cast("Any", self.read_type)).json_schema(mode="serialization")
        names = schema.get("$defs", {})
        kinds: list[dict[str, Any]] = schema.get("anyOf", [schema])
        named = [names[kind["$ref"].rpartition("/")[2]] if "$ref" in kind else kind for kind in kinds]
        return all(kind.get("type") in {"string", "null"} for kind in named)

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
) -> Mapping[str, ApiColumn]:
    """Return the columns of *model* by attribute name, in the order of the table.

    Args:
        model: A mapped class.
        server_owned: Attributes that no request may write, besides the ones that are recognised: created_at and
            updated_at, the version column, computed columns, and primary keys that the database or a default fills.
        generated: Attributes that the repository fills when no value is given; one called `id` the server owns.
        shown: Attributes to be shown although their names look secret.
        hidden: Further attributes that are never shown.
    """
    mapper = sa.inspect(model, raiseerr=True)
    found: dict[str, ApiColumn] = {}
    for attribute in mapper.column_attrs:
        column = attribute.columns[0]
        if not isinstance(column, sa.Column):
            continue
        name = attribute.key
        looks_secret = _SECRET_NAME.search(name) is not None and not column.info.get("public")
        is_hidden = name in hidden or bool(column.info.get("hidden")) or (looks_secret and name not in shown)
        is_generated = name in generated
        entry = ApiColumn(name, column, is_hidden, is_server_owned=False)
        owned = (
            name in server_owned
            or name in _TIMESTAMP_NAMES
            or column is mapper.version_id_col
            or column.computed is not None
            or (column.primary_key and not entry.is_required)
            or (is_generated and name == "id")
        )
        found[name] = ApiColumn(name, column, is_hidden, owned, is_generated)
    return found


def _json_type(kind: sa.types.TypeEngine[object], *, write: bool) -> object:
    """Return the annotation of a column type; `write` adds the limits that the column sets."""
    if isinstance(kind, sa.TypeDecorator) and not _says_python_type(kind):
        kind = kind.impl_instance
    if isinstance(kind, sa.Enum):
        return kind.enum_class if kind.enum_class is not None else Literal[tuple(kind.enums)]
    if isinstance(kind, sa.ARRAY):
        return list[_json_type(kind.item_type, write=write)]  # type: ignore[misc]
    if isinstance(kind, sa.JSON):
        return JsonValue
    if isinstance(kind, sa.Uuid):
        return UUID if kind.as_uuid else Annotated[str, Field(pattern=r"^[0-9a-fA-F-]{32,36}$")]
    if isinstance(kind, sa.DateTime):
        if kind.timezone:
            return AwareDatetime if write else _AwareDatetime
        return _NaiveDatetime
    try:
        python = kind.python_type
    except NotImplementedError:
        return JsonValue
    return _limited(python, kind) if write else _plain(python)


def _plain(python: type[object]) -> object:
    if python is bytes:
        return _Base64
    known = (bool, int, float, str, Decimal, date, time, timedelta, datetime, UUID, list, dict)
    if python in known or issubclass(python, Enum):
        return python
    return JsonValue


def _limited(python: type[object], kind: sa.types.TypeEngine[object]) -> object:
    if python is int:
        bits = next((bits for cls, bits in _INTEGER_BITS if isinstance(kind, cls)), 64)
        return Annotated[int, Field(ge=-(2 ** (bits - 1)), le=2 ** (bits - 1) - 1)]
    if python is float:
        return Annotated[float, Field(allow_inf_nan=False)]
    if python is str:
        length = getattr(kind, "length", None)
        return Annotated[str, Field(max_length=length, pattern=_NO_NUL)]
    if python is Decimal:
        digits, places = getattr(kind, "precision", None), getattr(kind, "scale", None)
        return Annotated[Decimal, Field(max_digits=digits, decimal_places=places, allow_inf_nan=False)]
    return _plain(python)


def _says_python_type(kind: sa.TypeDecorator[object]) -> bool:
    return type(kind).python_type is not sa.types.TypeEngine.python_type
