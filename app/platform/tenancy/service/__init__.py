"""What the rest of the system may ask of tenancy."""

from app.platform.tenancy.service.tenants import (
    add_member,
    create_tenant,
    get_tenant,
    list_members,
    set_status,
    tenant_ids,
)

__all__ = ["add_member", "create_tenant", "get_tenant", "list_members", "set_status", "tenant_ids"]
