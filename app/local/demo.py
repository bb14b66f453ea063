"""Decides what the demo tenant is: its accounts, their funding, its two strategies, its key."""

from app.local.home import Credentials
from app.local.ports import StartError


async def seed_demo(known: Credentials | None) -> Credentials:
    """Seed reference data, the demo tenant and its deployments, idempotently; settings come from the environment.

    `known` are the credentials of an earlier seed. They are returned when the tenant still has that key; a new key
    is made otherwise.
    """
    raise StartError("the demo tenant cannot be seeded yet")
