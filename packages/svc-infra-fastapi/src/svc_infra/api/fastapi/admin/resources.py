"""The resources that the page shows, and how they lead to one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

import sqlalchemy as sa
from pydantic import ValidationError

from svc_infra.api.fastapi.admin.admission import Admission
from svc_infra.api.fastapi.admin.values import key_text
from svc_infra.api.fastapi.db.sql.binding import ResourceBinding
from svc_infra.db.sql.repository import RowRepository, SqlRepository

__all__ = ["EVERY_TENANT", "AdminResource", "TenantMissing", "with_slugs"]


class EveryTenant(Enum):
    """The tenant of somebody who may see every tenant's rows."""

    EVERY = "every"


EVERY_TENANT: Final = EveryTenant.EVERY
"""What the page's tenant dependency returns for an operator who may see the rows of every tenant."""


class TenantMissing(LookupError):
    """A resource has tenants and the caller has none."""


@dataclass(frozen=True)
class AdminResource:
    """One resource on the page.

    Attributes:
        binding: The resource, as its routes know it.
        database: Name of the database that it is in.
        slug: Its part of the page's paths.
        admission: Asks what guards it.
    """

    binding: ResourceBinding
    database: str
    slug: str
    admission: Admission

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.binding.resource.prefix.strip("/")

    @property
    def is_browsable(self) -> bool:
        """Whether its rows may be shown: a service with reads of its own may hide rows that the table has."""
        return self.binding.keeps_reads

    @cached_property
    def has_record_pages(self) -> bool:
        """Whether a row has a page of its own; not when its path would show a hidden value."""
        return not any(column.is_hidden for column in self.binding.id_columns)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns that are shown: those of its responses, without any that is hidden."""
        columns = self.binding.columns
        return tuple(name for name in self.binding.shown_names if not columns[name].is_hidden)

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """The columns of a list: the id first."""
        ids = [name for name in self.binding.repo.id_fields if name in self.names]
        return (*ids, *(name for name in self.names if name not in ids))

    def scoped(self, tenant: object) -> SqlRepository[Any]:
        """Return the repository of the rows that the caller may see.

        Raises:
            TenantMissing: The resource has tenants and the caller has none.
        """
        if self.binding.resource.tenant_field is None or tenant is EVERY_TENANT:
            return self.binding.repo
        if tenant is None or tenant == "":
            raise TenantMissing(self.title)
        return self.binding.scoped(tenant)

    def rows(self, tenant: object) -> RowRepository[Any]:
        """Return the rows that the caller may see: id fields first, then `names`."""
        return self.scoped(tenant).rows_of(*self.binding.repo.id_fields, *self.names)

    def split(self, row: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the id and the shown values of a row that `rows` read."""
        width = len(self.binding.repo.id_fields)
        return tuple(row[:width]), dict(zip(self.names, row[width:], strict=True))

    def parse_key(self, texts: Sequence[str]) -> object | None:
        """Return the id that *texts* stand for, or None when they stand for none."""
        columns = self.binding.id_columns
        if len(texts) != len(columns):
            return None
        try:
            parts = [column.parse_text(text) for column, text in zip(columns, texts, strict=True)]
        except ValidationError:
            return None
        return parts[0] if len(parts) == 1 else tuple(parts)

    def record_path(self, key: Iterable[Any]) -> str:
        """Return the path of a row's page, below the page's own."""
        return f"/resources/{self.slug}/record?" + urlencode([("key", key_text(part)) for part in key])

    def rows_path(self, **conditions: object) -> str:
        """Return the path of the list of the rows that have these values."""
        query = urlencode({name: key_text(value) for name, value in conditions.items()})
        return f"/resources/{self.slug}" + (f"?{query}" if query else "")

    def links_of(self, values: dict[str, Any], others: Iterable[AdminResource]) -> dict[str, str]:
        """Return, for each foreign key among *values*, the path of the row that it leads to."""
        found: dict[str, str] = {}
        for name in self.names:
            value = values.get(name)
            for foreign in _single_keys(self.binding.columns[name].column):
                for other in others if value is not None else ():
                    path = other.path_to(foreign.column, value) if other.database == self.database else None
                    if path is not None:
                        found.setdefault(name, path)
        return found

    def referring(self, values: dict[str, Any], others: Iterable[AdminResource]) -> Iterator[tuple[str, str]]:
        """Yield title and path of each list of rows of *others* that refer to the row with these *values*."""
        fields = self.binding.repo.fields
        for other in others:
            if other.database != self.database or not other.is_browsable:
                continue
            for name in other.names:
                if name not in other.binding.rules.filter_fields:
                    continue
                for foreign in _single_keys(other.binding.columns[name].column):
                    target = fields.name_of(foreign.column)
                    if target is not None and values.get(target) is not None:
                        yield f"{other.title} by {name}", other.rows_path(**{name: values[target]})

    def path_to(self, column: sa.Column[Any], value: object) -> str | None:
        """Return the path of the row or rows whose *column* has *value*, or None when there is no such page."""
        name = self.binding.repo.fields.name_of(column)
        if name is None or not self.is_browsable:
            return None
        if self.binding.repo.id_fields == (name,) and self.has_record_pages:
            return self.record_path([value])
        return self.rows_path(**{name: value}) if name in self.binding.rules.filter_fields else None


def _single_keys(column: sa.Column[Any]) -> Iterator[sa.ForeignKey]:
    for foreign in column.foreign_keys:
        constraint = foreign.constraint
        if constraint is None or len(constraint.elements) == 1:
            yield foreign


def with_slugs(found: Iterable[tuple[ResourceBinding, str, Admission]]) -> dict[str, AdminResource]:
    """Return resources by slug, made of bindings, the names of their databases and their admissions."""
    resources: dict[str, AdminResource] = {}
    for binding, database, admission in found:
        slug = base = binding.resource.prefix.strip("/").replace("/", ".")
        number = 2
        while slug in resources:
            slug, number = f"{base}.{number}", number + 1
        resources[slug] = AdminResource(binding, database, slug, admission)
    return resources
