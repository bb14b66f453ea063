"""Decides how the command line talks to a running stack: as a client of the public API, with the demo tenant's key."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from app.local.home import Home
from app.local.ports import StartError
from app.local.stack import supervisor_of

_LARGEST_PAGE = 100


class ApiError(StartError):
    """The API refused, or does not answer; the message is its own."""


class ApiClient:
    """`GET` of JSON from `url` with a bearer key."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url, self._key = url, api_key

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer. Raises `ApiError` with the problem's detail."""
        wanted = {key: value for key, value in query.items() if value is not None}
        address = f"{self._url}{path}" + (f"?{urllib.parse.urlencode(wanted)}" if wanted else "")
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {self._key}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise ApiError(f"GET {path}: {_detail(error)}") from error
        except OSError as error:
            raise ApiError(f"GET {path}: the API does not answer ({error}); `mandi status` says what runs") from error

    def rows(self, path: str, *, limit: int, **query: Any) -> list[dict[str, Any]]:
        """Up to `limit` rows of a list, newest first, page by page."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while len(found) < limit:
            page = self.get(path, limit=min(limit - len(found), _LARGEST_PAGE), starting_after=after, **query)
            found += page["data"]
            if not page.get("has_more") or not page["data"]:
                break
            after = page["data"][-1]["id"]
        return found


def local_client(home: Home) -> ApiClient:
    """A client of the stack that runs in `home`. Raises `StartError` when none does."""
    state, credentials = home.state(), home.credentials()
    if supervisor_of(state) is None or state is None or credentials is None:
        raise StartError("no stack runs here: start one with `mandi up` (or python3 start_trading.py)")
    return ApiClient(str(state["url"]), credentials.api_key)


def _detail(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.load(error)
        return f"{problem.get('detail') or problem.get('title')} ({error.code} {problem.get('code', '')})"
    except (ValueError, OSError):
        return f"HTTP {error.code}"
