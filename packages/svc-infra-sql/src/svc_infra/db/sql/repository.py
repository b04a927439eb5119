"""The repository: typed create, read, update and delete over one model, each in one prebuilt statement.

`SqlRepository` gives objects of the model. `SqlRepository.rows` is the **row form** of the same repository: the same
methods with the same meaning that give named tuples. It is for callers that turn rows into something else at once, as
routes turn them into JSON: no object is built, the session holds nothing, and it also runs on a bare
`AsyncConnection`, so that a lone read needs no transaction on an engine in AUTOCOMMIT. `rows.names` are the fields in
the order of the tuple; `repo.rows_of("id", "email")` reads only those.

    row = await repo.rows.get(session, "user-123")
    payload = dict(zip(repo.rows.names, row))

`repo.scoped({"tenant_id": tenant})` is the repository confined to rows with these values: every statement carries them
and every created row gets them. It shares the prebuilt statements and is cheap, so make one per request.

`get` and `update` give None and `delete` gives False when no visible row has the id; `get_one` raises `NotFound`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import QueryableAttribute

from svc_infra.db.sql.cursors import CursorCodec
from svc_infra.db.sql.errors import InvalidValue
from svc_infra.db.sql.fields import ModelFields
from svc_infra.db.sql.forms import EntityForm, ResultRow, RowForm
from svc_infra.db.sql.plan import RepositoryPlan
from svc_infra.db.sql.reading import Executor
from svc_infra.db.sql.upserting import Upserting
from svc_infra.db.sql.values import is_expression
from svc_infra.db.sql.visibility import Visibility, utc_now

__all__ = ["RowRepository", "SqlRepository"]

M = TypeVar("M")

_IMMUTABLE = ("id", "created_at", "updated_at")


class RowRepository(Upserting[M, ResultRow, Executor], Generic[M]):
    """The row form of a repository; made by `SqlRepository.rows` and `SqlRepository.rows_of`.

    Attributes:
        names: The fields of each row, in order.
    """

    def __init__(
        self, plan: RepositoryPlan[M], scope: Mapping[str, object], form: RowForm, cursors: CursorCodec
    ) -> None:
        self._plan = plan
        self._scope = scope
        self._cursors = cursors
        self._form = form
        self.names: tuple[str, ...] = form.names


class SqlRepository(Upserting[M, M, AsyncSession], Generic[M]):
    """Typed access to the rows of one model.

    Args:
        model: The mapped class.
        id_attr: The field by which rows are addressed; it need not be the primary key but must be unique. A
            sequence for a composite id. Default: `id` when the model has it, else the primary key.
        soft_delete: Whether `delete` marks rows instead of removing them. Marked rows are invisible to every method.
        soft_delete_field: Nullable field that takes the time of the delete.
        soft_delete_flag_field: Boolean field that is true in live rows and made false by the delete.
        immutable_fields: Fields that `update` ignores. Default: those of `id`, `created_at` and `updated_at` that the
            model has.
        version_field: Integer field that counts updates, for optimistic locking. Default: the mapper's
            `version_id_col`.
        cursor_secret: Key that signs the cursors of keyset pages, the same in every process; None for a public one.
        clock: Gives the time of a soft delete, aware; in UTC where the column keeps no zone. Default: now, in UTC.

    Raises:
        TypeError: When `model` is not mapped.
        UnknownField: When a named field is no field of the model, or can't serve.
    """

    def __init__(
        self,
        model: type[M],
        *,
        id_attr: str | Sequence[str] | None = None,
        soft_delete: bool = False,
        soft_delete_field: str = "deleted_at",
        soft_delete_flag_field: str | None = None,
        immutable_fields: Collection[str] | None = None,
        version_field: str | None = None,
        cursor_secret: str | bytes | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        fields = ModelFields(model)
        visibility = Visibility()
        if soft_delete:
            has_time = soft_delete_field in fields.columns or soft_delete_flag_field is None
            visibility = Visibility(soft_delete_field if has_time else None, soft_delete_flag_field)
        if immutable_fields is None:
            immutable_fields = [name for name in _IMMUTABLE if name in fields.columns]
        fields.require(immutable_fields, use="immutable")
        counted = fields.mapper.version_id_col
        if version_field is None and counted is not None:
            version_field = fields.name_of(counted)
        self._scope: Mapping[str, object] = {}
        self._cursors = CursorCodec(cursor_secret)
        self._loaded: tuple[str, ...] = ()
        self._plan = RepositoryPlan(
            fields=fields,
            id_fields=fields.identity_fields(id_attr),
            visibility=visibility,
            immutable_fields=frozenset(immutable_fields),
            version_field=version_field,
            clock=clock,
        )

    @cached_property
    def _form(self) -> EntityForm[M]:  # type: ignore[override]
        return EntityForm(self._plan.fields, self._plan.visibility, self._loaded)

    @property
    def model(self) -> type[M]:
        """The mapped class."""
        return self._plan.fields.model

    @property
    def id_fields(self) -> tuple[str, ...]:
        """The fields by which rows are addressed."""
        return self._plan.id_fields

    @property
    def soft_delete(self) -> bool:
        """Whether `delete` marks rows instead of removing them."""
        return self._plan.visibility.is_soft

    @property
    def fields(self) -> ModelFields[M]:
        """The fields of the model."""
        return self._plan.fields

    @cached_property
    def rows(self) -> RowRepository[M]:
        """The row form, with every field."""
        return RowRepository(self._plan, self._scope, self._plan.row_form(self._plan.fields.names), self._cursors)

    def rows_of(self, *names: str) -> RowRepository[M]:
        """The row form with some fields only.

        Raises:
            UnknownField: When a name is no field.
        """
        return RowRepository(self._plan, self._scope, self._plan.row_form(names), self._cursors)

    def scoped(self, values: Mapping[str, object]) -> SqlRepository[M]:
        """This repository confined to the rows that have these values, such as one tenant's.

        Every statement carries them, every created row gets them, and no update changes them. A foreign key to a row
        that is out of the scope is refused with `ForeignKeyViolation` as one to a row that does not exist.

        Raises:
            UnknownField: When a name is no field.
            InvalidValue: When a value is None or an expression.
        """
        for name, value in values.items():
            if value is None or is_expression(value):
                given = "None" if value is None else "an expression"
                raise InvalidValue(f"{self.model.__name__} can't be scoped by {given}; give the value of {name}")
        return self._derived(plan=self._plan.scoped(values), scope={**self._scope, **values})

    def loading(self, *relations: str | QueryableAttribute[Any]) -> SqlRepository[M]:
        """This repository with relationships loaded with every object, by one statement each and not one per object.

        Related rows that are soft-deleted or out of scope are left out, where their models have the same fields.
        A column that the model defers is loaded, too, when it is named.

        Args:
            relations: Names such as "posts", "posts.comments" for those of related objects, and attributes.

        Raises:
            UnknownField: When a name is no relationship, and no column that is deferred.
        """
        names = [relation if isinstance(relation, str) else relation.key for relation in relations]
        for name in names:
            if name in self._plan.fields.columns and self._plan.fields.mapper.column_attrs[name].deferred:
                continue
            fields: ModelFields[Any] = self._plan.fields
            for part in name.split("."):
                _, fields = fields.relation(part)
        return self._derived(loaded=(*self._loaded, *names))

    def _derived(
        self,
        *,
        plan: RepositoryPlan[M] | None = None,
        scope: Mapping[str, object] | None = None,
        loaded: tuple[str, ...] | None = None,
    ) -> SqlRepository[M]:
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__)
        # Made of the parts that change.
        copy.__dict__.pop("_form", None)
        copy.__dict__.pop("rows", None)
        copy._plan = self._plan if plan is None else plan
        copy._scope = self._scope if scope is None else scope
        copy._loaded = self._loaded if loaded is None else loaded
        return copy
