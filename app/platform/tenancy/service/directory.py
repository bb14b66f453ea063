"""Decides how the platform's operator finds tenants: by slug or id, or as a list. No route and no tenant asks this.

Names are read across tenants as the role `dispatch`, which sees the table `tenants` and nothing else of theirs; all
besides is read in each tenant's own transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.infra.database import Database, Tx
from app.kernel.errors import DomainError, Kind, conflict
from app.kernel.ids import decode_id, encode_id
from app.platform.tenancy import repository
from app.platform.tenancy.repository import ListedTenant


@dataclass(frozen=True, slots=True)
class PeopleCount:
    """How many people a tenant has. `active` and `suspended` are members, `owners` are active; `invited` come yet."""

    active: int
    suspended: int
    owners: int
    invited: int


async def find_tenant(database: Database, named: str, *, param: str = "tenant") -> ListedTenant:
    """The tenant with this slug or id, `ten_…`.

    Raises `invalid_id`, `tenant_not_found`, and `slug_not_unique`, which names the ids to choose from.
    """
    tenant_id = decode_id("ten", named, param=param) if named.startswith("ten_") else None
    found = await repository.tenants_named(database.dispatch, named, tenant_id)
    if not found:
        raise DomainError(
            "tenant_not_found",
            Kind.NOT_FOUND,
            f"No tenant has the slug or id {named[:64]!r}: look it up in the list of tenants.",
            param=param,
        )
    if len(found) > 1:
        ids = ", ".join(encode_id("ten", one.id) for one in found)
        raise conflict("slug_not_unique", f"Several tenants have this slug: name one by its id, {ids}.", param=param)
    return found[0]


async def check_slug_free(database: Database, slug: str) -> None:
    """Raises `slug_taken`. The database holds no slug to be unique, and two operators may choose one at once: then
    `find_tenant` wants the id."""
    if await repository.tenants_named(database.dispatch, slug, None):
        raise conflict("slug_taken", f"A tenant {slug!r} exists already: choose another slug.", param="slug")


async def newest_tenants(database: Database, limit: int) -> Sequence[ListedTenant]:
    """At most `limit` tenants, the newest first."""
    return await repository.newest_tenants(database.dispatch, limit)


async def count_people(tx: Tx, *, now: datetime) -> PeopleCount:
    """The people of the transaction's tenant."""
    return PeopleCount(**await repository.count_people(tx, now))
