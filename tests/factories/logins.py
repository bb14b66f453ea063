"""Access tokens of people who logged in: for routes that ask for a person, and how recently."""

from datetime import UTC, datetime, timedelta

from fastapi import FastAPI

from app.infra.database import Database
from app.kernel.ids import uuid7
from app.platform.identity.service import PERMISSIONS
from app.platform.oauth.domain import AuthMethod, GrantType
from app.platform.oauth.repository import clients_in_force
from app.platform.oauth.service.tokens import Subject, mint_access_token
from tests.factories.members import Person
from tests.factories.oauth import CALLBACK, make_client


async def logged_in(app: FastAPI, database: Database, who: Person, *, ago: timedelta = timedelta(0)) -> dict[str, str]:
    """Headers with a token of his tenant, in the mode of his key, by a login of `ago`."""
    server, now = app.state.oauth.server, datetime.now(UTC)
    client = await make_client(
        database,
        who.tenant_id,
        method=AuthMethod.NONE,
        grants=(GrantType.CODE,),
        scopes=tuple(PERMISSIONS),
        redirect_uris=(CALLBACK,),
        mode=who.mode,
    )
    found = (await clients_in_force(database.pool, [client.row.client_id])).get(client.row.client_id)
    assert found is not None
    token = mint_access_token(
        await server.keys.ring(now=now),
        found,
        tuple(PERMISSIONS),
        issuer=server.issuer,
        now=now,
        subject=Subject(who.user_id, uuid7(), str(uuid7()), now - ago),
    )
    return {"Authorization": f"Bearer {token}"}
