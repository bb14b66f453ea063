"""People of a tenant, each with a key that he made: what a login will be, for tests of who may what."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from app.infra.database import Database
from app.kernel.ids import encode_id, uuid7
from app.kernel.orders import Mode
from app.kernel.principal import Principal
from app.platform.identity.service import PERMISSIONS, create_key
from app.platform.tenancy.domain import Role
from app.platform.tenancy.service import add_member


@dataclass(frozen=True, slots=True)
class Person:
    """A member, his login and one of his keys."""

    tenant_id: UUID
    user_id: UUID
    member_id: UUID
    key_id: UUID
    secret: str
    email: str
    mode: Mode

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}

    @property
    def member(self) -> str:
        """The member's id in the API."""
        return encode_id("mem", self.member_id)

    @property
    def principal(self) -> Principal:
        """As services see his key."""
        return Principal(self.tenant_id, self.key_id, self.mode, frozenset(PERMISSIONS), user_id=self.user_id)

    @property
    def present(self) -> Principal:
        """As services see him when he has just logged in."""
        return replace(self.principal, auth_time=datetime.now(UTC))


async def make_person(
    database: Database,
    tenant_id: UUID,
    role: Role = Role.OWNER,
    *,
    scopes: list[str] | None = None,
    mode: Mode = Mode.TEST,
) -> Person:
    """A new active member with a key of `scopes`, every one by default: his role is what limits him."""
    user_id = uuid7()
    email = f"{user_id.hex}@example.com"
    async with database.tx(tenant_id) as tx:
        member = await add_member(tx, email=email, role=role, user_id=user_id)
        issued = await create_key(
            tx,
            name="own",
            scopes=list(PERMISSIONS) if scopes is None else scopes,
            cell="in1",
            now=datetime.now(UTC),
            mode=mode,
            user_id=user_id,
        )
    return Person(tenant_id, user_id, member.id, issued.row.id, issued.secret, email, mode)
