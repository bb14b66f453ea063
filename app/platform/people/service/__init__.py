"""What the rest of the system may ask of people."""

from app.platform.people.domain import Person, Session, require_recent
from app.platform.people.ports import Endings, Mail, Mailer, Sealer
from app.platform.people.repository import OUTDATED
from app.platform.people.service.accounts import (
    Joined,
    ask_for_reset,
    change_password,
    confirm_sign_up,
    create_person,
    reset_password,
    sign_up,
)
from app.platform.people.service.hashing import Hasher
from app.platform.people.service.invitations import InvitationMail, accept
from app.platform.people.service.login import confirm_identity, give_code, log_in
from app.platform.people.service.mail import MailSender
from app.platform.people.service.people import People, Visitor
from app.platform.people.service.second_factor import (
    begin_totp,
    confirm_totp,
    new_recovery_codes,
    recovery_codes_left,
    remove_totp,
)
from app.platform.people.service.sessions import (
    Login,
    end_session,
    list_sessions,
    log_out,
    pending_user,
    session_stands,
    session_user,
)
from app.platform.people.service.throttle import Throttle

__all__ = [
    "OUTDATED",
    "Endings",
    "Hasher",
    "InvitationMail",
    "Joined",
    "Login",
    "Mail",
    "MailSender",
    "Mailer",
    "People",
    "Person",
    "Sealer",
    "Session",
    "Throttle",
    "Visitor",
    "accept",
    "ask_for_reset",
    "begin_totp",
    "change_password",
    "confirm_identity",
    "confirm_sign_up",
    "confirm_totp",
    "create_person",
    "end_session",
    "give_code",
    "list_sessions",
    "log_in",
    "log_out",
    "new_recovery_codes",
    "pending_user",
    "recovery_codes_left",
    "remove_totp",
    "require_recent",
    "reset_password",
    "session_stands",
    "session_user",
    "sign_up",
]
