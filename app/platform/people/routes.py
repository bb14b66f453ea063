"""`/login`, `/signup`, `/verify`, `/forgot`, `/reset`, `/invitation`, `/logout`: for all. `/account/…`: a person's own.

Pages work without scripts. Whoever is sent away for a fresh proof comes back to where it was asked for.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from app.kernel.errors import DomainError, Kind
from app.kernel.ids import decode_id
from app.platform.people import service
from app.platform.people.domain import SIGN_UP_VALID
from app.platform.people.schemas import SessionOut, SessionsOut
from app.platform.people.service import Login, People, Person, Session, Visitor
from app.platform.people.service.invitations import invitation_in, invitation_path
from app.platform.people.service.sessions import PREFIX
from app.web.context import now
from app.web.errors import STATUS
from app.web.pages import (
    DEVICE_COOKIE,
    FORM_COOKIE,
    NEXT_COOKIE,
    SESSION_COOKIE,
    PageRoute,
    local_path,
    pages_of,
    read_form,
    see_other,
    with_next,
)

HOME = "/account/security"
DEVICE_SECONDS = 400 * 24 * 3600  # the longest that browsers keep a cookie
CHECK_MAIL = "We have sent a mail to {email}. It says how to go on."
Now = Annotated[datetime, Depends(now)]
Form = Annotated[dict[str, str], Depends(read_form)]
pages = APIRouter(route_class=PageRoute, include_in_schema=False)
account = APIRouter(prefix="/account/sessions", include_in_schema=False)


def _people(request: Request) -> People:
    people: People = request.app.state.people
    return people


def _token(request: Request) -> str | None:
    return pages_of(request).cookie(request, SESSION_COOKIE)


def _visitor(request: Request) -> Visitor:
    return Visitor(
        ip=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent"),
        device=pages_of(request).cookie(request, DEVICE_COOKIE),
    )


def _logged_in(request: Request, response: Response, login: Login) -> Response:
    """The session's cookie, and once it is complete the device's; forms shown before no longer count."""
    shown = pages_of(request)
    shown.set_cookie(response, SESSION_COOKIE, login.token)
    shown.drop_cookie(response, FORM_COOKIE)
    if login.device is not None:
        shown.set_cookie(response, DEVICE_COOKIE, login.device, max_age=DEVICE_SECONDS)
    return response


def _again(request: Request, template: str, error: DomainError, **facts: Any) -> Response:
    """The same page once more, saying what is wrong."""
    return pages_of(request).show(request, template, status=STATUS[error.kind], message=error.message, **facts)


async def _insider(request: Request, at: datetime) -> tuple[Person, Session]:
    found = await service.session_user(_people(request), _token(request), now=at)
    if found is None:
        raise DomainError("not_logged_in", Kind.UNAUTHENTICATED, "You are not logged in. Log in at /login.")
    return found


# --- for everybody ---------------------------------------------------------------------------------------------------


@pages.get("/login")
async def login_page(request: Request, next: str = "", email: str = "", done: str = "") -> Response:
    going = local_path(next, default=HOME)
    facts: dict[str, Any] = {"next": going, "email": email[:254], "message": None, "done": done}
    return pages_of(request).show(request, "login.html", leads_out=going != HOME, **facts)


@pages.post("/login")
async def log_in(request: Request, form: Form, at: Now) -> Response:
    going, email = local_path(form.get("next"), default=HOME), form.get("email", "")
    try:
        login = await service.log_in(
            _people(request),
            email=email,
            password=form.get("password", ""),
            visitor=_visitor(request),
            now=at,
            replaces=_token(request),
        )
    except DomainError as error:
        return _again(request, "login.html", error, leads_out=going != HOME, next=going, email=email[:254], done="")
    if login.pending:
        return _logged_in(request, _to("/login/code", going), login)
    return _logged_in(request, see_other(going), login)


def _to(path: str, going: str) -> Response:
    return see_other(path if going == HOME else with_next(path, going))


@pages.get("/login/code")
async def code_page(request: Request, at: Now, next: str = "") -> Response:
    going = local_path(next, default=HOME)
    if await service.pending_user(_people(request), _token(request), now=at) is None:
        return _to("/login", going)
    return pages_of(request).show(request, "code.html", leads_out=going != HOME, next=going, message=None)


@pages.post("/login/code")
async def give_code(request: Request, form: Form, at: Now) -> Response:
    going = local_path(form.get("next"), default=HOME)
    try:
        login = await service.give_code(
            _people(request), token=_token(request), code=form.get("code", ""), visitor=_visitor(request), now=at
        )
    except DomainError as error:
        if error.code == "login_expired":
            return _to("/login", going)
        return _again(request, "code.html", error, leads_out=going != HOME, next=going)
    return _logged_in(request, see_other(going), login)


@pages.get("/signup")
async def sign_up_page(request: Request, next: str = "") -> Response:
    return pages_of(request).show(request, "signup.html", next=local_path(next, default=HOME), email="", message=None)


@pages.post("/signup")
async def sign_up(request: Request, form: Form, at: Now) -> Response:
    going, email = local_path(form.get("next"), default=HOME), form.get("email", "")
    facts: dict[str, Any] = {"email": email, "password": form.get("password", ""), "visitor": _visitor(request)}
    invitation = invitation_in(going)
    try:
        await service.sign_up(_people(request), **facts, now=at, invitation=invitation)
    except DomainError as error:
        return _again(request, "signup.html", error, next=going, email=email[:254])
    shown, again = pages_of(request), with_next("/signup", going)
    response = shown.show(request, "sent.html", said=CHECK_MAIL.format(email=email.strip()), again=again)
    shown.remember_next(
        response, None if invitation or going == HOME else going, seconds=int(SIGN_UP_VALID.total_seconds())
    )
    return response


@pages.get("/verify")
async def verify_page(request: Request, token: str = "") -> Response:
    shown = pages_of(request)
    leads_out = shown.remembered(request) is not None
    return shown.show(request, "verify.html", leads_out=leads_out, token=token[:100], message=None)


@pages.post("/verify")
async def verify(request: Request, form: Form, at: Now) -> Response:
    token, going = form.get("token", ""), pages_of(request).remembered(request)
    try:
        joined = await service.confirm_sign_up(
            _people(request), token=token, password=form.get("password", ""), visitor=_visitor(request), now=at
        )
    except DomainError as error:
        return _again(request, "verify.html", error, leads_out=going is not None, token=token[:100])
    going = invitation_path(joined.invitation) if joined.invitation else going or HOME
    response = _logged_in(request, see_other(going), joined.login)
    pages_of(request).drop_cookie(response, NEXT_COOKIE)
    return response


@pages.get("/forgot")
async def forgot_page(request: Request) -> Response:
    return pages_of(request).show(request, "forgot.html", email="", message=None)


@pages.post("/forgot")
async def forgot(request: Request, form: Form, at: Now) -> Response:
    email = form.get("email", "")
    try:
        await service.ask_for_reset(_people(request), email=email, visitor=_visitor(request), now=at)
    except DomainError as error:
        return _again(request, "forgot.html", error, email=email[:254])
    said = f"If {email.strip()} has an account, a link to set a new password is on its way."
    return pages_of(request).show(request, "sent.html", said=said, again="/forgot")


@pages.get("/reset")
async def reset_page(request: Request, token: str = "") -> Response:
    return pages_of(request).show(request, "reset.html", token=token[:100], message=None)


@pages.post("/reset")
async def reset(request: Request, form: Form, at: Now) -> Response:
    token = form.get("token", "")
    try:
        device = await service.reset_password(
            _people(request), token=token, password=form.get("password", ""), visitor=_visitor(request), now=at
        )
    except DomainError as error:
        return _again(request, "reset.html", error, token=token[:100])
    response = see_other("/login?done=reset")
    pages_of(request).set_cookie(response, DEVICE_COOKIE, device, max_age=DEVICE_SECONDS)
    pages_of(request).drop_cookie(response, SESSION_COOKIE)
    return response


@pages.get("/logout")
async def log_out_page(request: Request) -> Response:
    return pages_of(request).show(request, "logout.html")


@pages.post("/logout")
async def log_out(request: Request, form: Form, at: Now) -> Response:
    await service.log_out(_people(request), _token(request), now=at)
    response = see_other("/login?done=out")
    pages_of(request).drop_cookie(response, SESSION_COOKIE)
    return response


@pages.get("/invitation")
async def invitation_page(request: Request, at: Now, token: str = "") -> Response:
    found = await service.session_user(_people(request), _token(request), now=at)
    facts: dict[str, Any] = {"email": found[0].email if found else None, "token": token[:100]}
    return pages_of(request).show(request, "invitation.html", message=None, back=invitation_path(token), **facts)


@pages.post("/invitation")
async def accept_invitation(request: Request, form: Form, at: Now) -> Response:
    person, _ = await _insider(request, at)
    token = form.get("token", "")
    try:
        await service.accept(_people(request), person, token, now=at)
    except DomainError as error:
        return _again(request, "invitation.html", error, token=token[:100], back="", email=person.email)
    return see_other(f"{HOME}?done=joined")


# --- the person's own ------------------------------------------------------------------------------------------------


class AccountRoute(PageRoute):
    """Sends who is not logged in to the login, and who must prove it again to `/account/confirm`."""

    def failed(self, request: Request, error: DomainError) -> Response:
        way = {"not_logged_in": "/login", "step_up_required": "/account/confirm"}.get(error.code)
        if way is None:
            return super().failed(request, error)
        return _to(way, request.url.path if request.method == "GET" else HOME)


own = APIRouter(prefix="/account", route_class=AccountRoute, include_in_schema=False)


async def _security(
    request: Request, at: datetime, *, status: int = 200, message: str | None = None, done: str = ""
) -> Response:
    people = _people(request)
    person, session = await _insider(request, at)
    rows = await service.list_sessions(people, person, now=at)
    return pages_of(request).show(
        request,
        "security.html",
        status=status,
        email=person.email,
        second_factor=person.second_factor,
        codes_left=await service.recovery_codes_left(people, person),
        sessions=[SessionOut.of(row, current=session.id) for row in rows],
        message=message,
        done=done,
    )


@own.get("/security")
async def security_page(request: Request, at: Now, done: str = "") -> Response:
    return await _security(request, at, done=done)


@own.post("/security/password")
async def change_password(request: Request, form: Form, at: Now) -> Response:
    person, session = await _insider(request, at)
    try:
        login = await service.change_password(
            _people(request),
            person,
            session,
            token=_token(request) or "",
            current=form.get("current", ""),
            password=form.get("password", ""),
            visitor=_visitor(request),
            now=at,
        )
    except DomainError as error:
        return await _security(request, at, status=STATUS[error.kind], message=error.message)
    return _logged_in(request, see_other(f"{HOME}?done=password"), login)


@own.post("/security/totp")
async def begin_totp(request: Request, form: Form, at: Now) -> Response:
    person, session = await _insider(request, at)
    enrolment = await service.begin_totp(_people(request), person, session, now=at)
    return pages_of(request).show(request, "totp.html", email=person.email, enrolment=enrolment, message=None)


@own.post("/security/totp/confirm")
async def confirm_totp(request: Request, form: Form, at: Now) -> Response:
    person, session = await _insider(request, at)
    try:
        codes = await service.confirm_totp(_people(request), person, session, form.get("code", ""), now=at)
    except DomainError as error:
        if error.code != "wrong_code":
            raise
        return _again(request, "totp.html", error, email=person.email, enrolment=None)
    return pages_of(request).show(request, "codes.html", email=person.email, codes=codes)


@own.post("/security/totp/remove")
async def remove_totp(request: Request, form: Form, at: Now) -> Response:
    person, session = await _insider(request, at)
    await service.remove_totp(_people(request), person, session, now=at)
    return see_other(f"{HOME}?done=off")


@own.post("/security/recovery")
async def new_recovery_codes(request: Request, form: Form, at: Now) -> Response:
    person, session = await _insider(request, at)
    codes = await service.new_recovery_codes(_people(request), person, session, now=at)
    return pages_of(request).show(request, "codes.html", email=person.email, codes=codes)


@own.post("/sessions/{id}/end")
async def end_session_by_form(id: str, request: Request, form: Form, at: Now) -> Response:
    person, _ = await _insider(request, at)
    await service.end_session(_people(request), person, decode_id(PREFIX, id), now=at)
    return see_other(HOME)


@own.get("/confirm")
async def confirm_page(request: Request, at: Now, next: str = "") -> Response:
    person, _ = await _insider(request, at)
    going = local_path(next, default=HOME)
    facts: dict[str, Any] = {"next": going, "email": person.email, "second_factor": person.second_factor}
    return pages_of(request).show(request, "confirm.html", leads_out=going != HOME, message=None, **facts)


@own.post("/confirm")
async def confirm(request: Request, form: Form, at: Now) -> Response:
    person, session = await _insider(request, at)
    going = local_path(form.get("next"), default=HOME)
    try:
        login = await service.confirm_identity(
            _people(request),
            person,
            session,
            token=_token(request) or "",
            secret=form.get("code" if person.second_factor else "password", ""),
            visitor=_visitor(request),
            now=at,
        )
    except DomainError as error:
        facts = {"next": going, "email": person.email, "second_factor": person.second_factor}
        return _again(request, "confirm.html", error, leads_out=going != HOME, **facts)
    return _logged_in(request, see_other(going), login)


# --- the same for programs of ours, with the browser's cookie --------------------------------------------------------


@account.get("")
async def list_sessions(request: Request, response: Response, at: Now) -> SessionsOut:
    """The person's logins, the one seen last first."""
    person, session = await _insider(request, at)
    rows = await service.list_sessions(_people(request), person, now=at)
    response.headers["Cache-Control"] = "no-store"
    found = [SessionOut.of(row, current=session.id) for row in rows]
    return SessionsOut(data=found, form_token=pages_of(request).form_token(request))


@account.delete("/{id}", status_code=204)
async def end_session(
    id: str, request: Request, at: Now, x_form_token: Annotated[str, Header(max_length=100)] = ""
) -> None:
    """End one of the person's logins. Needs the `form_token` of the list."""
    person, _ = await _insider(request, at)
    pages_of(request).check_form(request, x_form_token)
    await service.end_session(_people(request), person, decode_id(PREFIX, id), now=at)


router = APIRouter()
for _part in (pages, own, account):
    router.include_router(_part)
