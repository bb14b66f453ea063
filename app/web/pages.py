"""Decides what is true of every page that we serve to a browser: nothing from elsewhere, no script, every form signed.

A form carries a token that only a page of ours can know: an HMAC over a cookie of the browser and its session. A path
to go on to is taken only when it stays on this host.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.kernel.errors import DomainError, Kind
from app.web.errors import STATUS

SESSION_COOKIE = "mandi_session"
DEVICE_COOKIE = "mandi_device"
FORM_COOKIE = "mandi_form"
NEXT_COOKIE = "mandi_next"
_LOCAL = re.compile(r"/(?![/\\])[\x21\x23-\x3b\x3d\x3f-\x5b\x5d-\x7e]*", re.ASCII)
MAX_FORM_FIELDS = 20


def local_path(given: str | None, *, default: str) -> str:
    """`given` when it is a path on this host, else `default`: no scheme, host, backslash or control character."""
    if given and len(given) <= 2000 and _LOCAL.fullmatch(given):
        return given
    return default


def see_other(path: str) -> RedirectResponse:
    """Go on with a GET."""
    return RedirectResponse(path, 303, headers={"Cache-Control": "no-store"})


def with_next(path: str, going: str) -> str:
    """`path`, which leads on to `going`."""
    return f"{path}?{urlencode({'next': going})}"


class Pages:
    """Templates from `folders`, with cookies and signed forms. `secure` says that browsers come over https."""

    def __init__(self, *folders: Path, key: bytes, secure: bool) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(folders),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._key = key
        self.secure = secure
        self._style = self._templates.get_template("style.css.j2").render()

    def show(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        leads_to: str = "'self'",
        leads_out: bool = False,
        **facts: Any,
    ) -> HTMLResponse:
        """The page. `leads_to`: the sources where its form may end, redirects included.

        `leads_out`: it may end on any host (a login inside OAuth). Browsers hold `form-action` against redirects too,
        so such a page goes without it.
        """
        style = self._style
        browser = request.cookies.get(self.cookie_name(FORM_COOKIE)) or secrets.token_urlsafe(16)
        html = self._templates.get_template(template).render(
            style=style, form_token=self._sign(browser, request), **facts
        )
        response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
        response.headers["Content-Security-Policy"] = _policy(style, None if leads_out else leads_to)
        self.set_cookie(response, FORM_COOKIE, browser)
        return response

    def form_token(self, request: Request) -> str | None:
        """What a request of this browser must carry; None before it has seen a page."""
        browser = request.cookies.get(self.cookie_name(FORM_COOKIE))
        return self._sign(browser, request) if browser else None

    def check_form(self, request: Request, token: str) -> None:
        """Raises `form_expired` unless `token` is of a page that we showed this browser, in this login."""
        expected = self.form_token(request)
        site = request.headers.get("sec-fetch-site", "same-origin")
        foreign = site not in ("same-origin", "none")
        if foreign or expected is None or not hmac.compare_digest(expected.encode(), token.encode()):
            raise DomainError(
                "form_expired", Kind.FORBIDDEN, "This form is out of date. Go back, reload the page, and send it again."
            )

    def cookie_name(self, name: str) -> str:
        """`__Host-` binds a cookie to this host, path `/` and https; plain http cannot have it."""
        return f"__Host-{name}" if self.secure else name

    def cookie(self, request: Request, name: str) -> str | None:
        return request.cookies.get(self.cookie_name(name))

    def set_cookie(self, response: Response, name: str, value: str, *, max_age: int | None = None) -> None:
        """Out of reach of scripts and of other sites' requests, but for following a link."""
        response.set_cookie(
            self.cookie_name(name), value, max_age=max_age, path="/", secure=self.secure, httponly=True, samesite="lax"
        )

    def remember_next(self, response: Response, going: str | None, *, seconds: int) -> None:
        """Let this browser go on to `going` when it comes back by a mailed link, which names no such path: what an
        application began in this browser belongs to no other. None: nothing is left to go on to."""
        if going is None:
            self.drop_cookie(response, NEXT_COOKIE)
        else:
            self.set_cookie(response, NEXT_COOKIE, going, max_age=seconds)

    def remembered(self, request: Request) -> str | None:
        """Where `remember_next` said that this browser goes on to."""
        return local_path(self.cookie(request, NEXT_COOKIE), default="") or None

    def drop_cookie(self, response: Response, name: str) -> None:
        response.delete_cookie(self.cookie_name(name), path="/", secure=self.secure, httponly=True, samesite="lax")

    def _sign(self, browser: str, request: Request) -> str:
        session = self.cookie(request, SESSION_COOKIE) or ""
        return hmac.new(self._key, f"{browser}\x00{session}".encode(), hashlib.sha256).hexdigest()


def _policy(style: str, leads_to: str | None) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    form = "" if leads_to is None else f"form-action {leads_to}; "
    return f"default-src 'none'; style-src 'sha256-{digest}'; {form}base-uri 'none'; frame-ancestors 'none'"


def pages_of(request: Request) -> Pages:
    """The pages that `main` opened."""
    pages: Pages = request.app.state.pages
    return pages


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a signed form, as a dependency. Raises `form_expired`."""
    async with request.form(max_files=0, max_fields=MAX_FORM_FIELDS) as form:
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
    pages_of(request).check_form(request, fields.get("form_token", ""))
    return fields


class PageRoute(APIRoute):
    """A route whose failures are pages, too; `failed` decides which."""

    def failed(self, request: Request, error: DomainError) -> Response:
        return pages_of(request).show(request, "error.html", status=STATUS[error.kind], message=error.message)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_as_page(request: Request) -> Response:
            try:
                return await handle(request)
            except DomainError as error:
                return self.failed(request, error)

        return handle_as_page
