"""What the rest of the system may ask of tenancy."""

from app.platform.tenancy.repository import OUTDATED, ListedTenant
from app.platform.tenancy.service.acting import end_grant, get_grant, list_grants, open_grant
from app.platform.tenancy.service.admission import ActiveMember, Admission, active_member
from app.platform.tenancy.service.approvals import approve, execute, get_approval, list_approvals, reject
from app.platform.tenancy.service.directory import (
    PeopleCount,
    check_slug_free,
    count_people,
    find_tenant,
    newest_tenants,
)
from app.platform.tenancy.service.invitations import (
    Accepted,
    accept_invitation,
    create_invitation,
    get_invitation,
    list_invitations,
    resend_invitation,
    revoke_invitation,
)
from app.platform.tenancy.service.members import (
    add_member,
    change_role,
    get_member,
    held_member,
    list_members,
    reactivate_member,
    remove_member,
    suspend_member,
)
from app.platform.tenancy.service.proposing import propose
from app.platform.tenancy.service.roles import held
from app.platform.tenancy.service.tenants import (
    close_tenant,
    create_tenant,
    founding,
    get_tenant,
    list_children,
    set_status,
    tenant_ids,
)

__all__ = [
    "OUTDATED",
    "Accepted",
    "ActiveMember",
    "Admission",
    "ListedTenant",
    "PeopleCount",
    "accept_invitation",
    "active_member",
    "add_member",
    "approve",
    "change_role",
    "check_slug_free",
    "close_tenant",
    "count_people",
    "create_invitation",
    "create_tenant",
    "end_grant",
    "execute",
    "find_tenant",
    "founding",
    "get_approval",
    "get_grant",
    "get_invitation",
    "get_member",
    "get_tenant",
    "held",
    "held_member",
    "list_approvals",
    "list_children",
    "list_grants",
    "list_invitations",
    "list_members",
    "newest_tenants",
    "open_grant",
    "propose",
    "reactivate_member",
    "reject",
    "remove_member",
    "resend_invitation",
    "revoke_invitation",
    "set_status",
    "suspend_member",
    "tenant_ids",
]
