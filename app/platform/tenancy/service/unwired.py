"""Stand-ins for ports whose owners are not wired yet, each of which errs on the safe side: no mail, no step-up."""

from datetime import datetime

import structlog

from app.infra.database import Tx
from app.kernel.principal import Principal
from app.platform.tenancy.ports import InvitationLetter

log = structlog.get_logger(__name__)


class NoMail:
    """Sends nothing and keeps nothing: the invitation waits to be sent again."""

    async def invite(self, tx: Tx, letter: InvitationLetter) -> None:
        log.warning("tenancy.invitation_not_sent", remedy="wire an Inviter in main")


class NoStepUp:
    """Confirms nobody."""

    async def confirmed(self, principal: Principal, *, now: datetime) -> bool:
        return False
