"""The service of one tenant: everything it does is confined to that tenant's rows."""

from __future__ import annotations

from typing import TypeVar

from svc_infra.db.sql.repository import SqlRepository
from svc_infra.db.sql.service import SqlService

__all__ = ["TenantSqlService"]

M = TypeVar("M")


class TenantSqlService(SqlService[M]):
    """A service whose every statement carries the tenant.

    A tenant in the data of a create or update is overwritten or ignored, so a row can be neither made for nor moved to
    another tenant. Rows of others are as absent: `get` gives None, `update` None, `delete` False, and a foreign
    key that names one is refused as if it named none (see `svc_infra.db.sql.references`). Hooks run as in `SqlService`.

    Args:
        repo: The repository of all tenants' rows.
        tenant_id: The tenant, of the type of its column.
        tenant_field: The field that holds the tenant.

    Raises:
        UnknownField: When the model has no such field.
        InvalidValue: When the tenant is None.
    """

    def __init__(self, repo: SqlRepository[M], *, tenant_id: object, tenant_field: str = "tenant_id") -> None:
        super().__init__(repo.scoped({tenant_field: tenant_id}))
        self.tenant_id = tenant_id
        self.tenant_field = tenant_field
