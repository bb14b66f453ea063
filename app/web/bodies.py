"""Decides which bytes are a request body: JSON in UTF-8 that has one reading only, and that a database can hold."""

import json
from functools import lru_cache
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.web.context import sent_headers

MAX_DEPTH = 32
_INT64 = 2**63
_ECHO = 64


class Malformed(HTTPException):
    """The body or address cannot be read; `code` and `detail` say why. Answered as a problem document."""

    def __init__(self, code: str, detail: str, *, status: int = 400) -> None:
        super().__init__(status, detail)
        self.code = code


class StrictRequest(Request):
    """A request whose `json` refuses what lenient parsers would each read differently."""

    async def json(self) -> Any:
        """The body. Raises `Malformed`, or `JSONDecodeError` for what is no JSON at all."""
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


def parse_json(content: bytes) -> Any:
    """`content` as JSON. Raises `Malformed` naming what is wrong, or `JSONDecodeError`."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("invalid_utf8", f"The body is not UTF-8: byte {error.start} begins no character.") from None
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError:
        raise
    except ValueError:  # more digits than Python turns into a number
        raise _out_of_range() from None
    _check(value, 1)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise Malformed("duplicate_key", f"The key {twice[:_ECHO]!r} stands twice in one object; send each key once.")
    return found


def _constant(word: str) -> NoReturn:
    raise Malformed("non_finite_number", f"{word} is not a JSON number; leave the field out, or send a number.")


def _too_deep() -> Malformed:
    return Malformed("too_deep", f"The body is nested more than {MAX_DEPTH} levels deep; send it flatter.")


def _out_of_range() -> Malformed:
    return Malformed("number_out_of_range", "A number does not fit into 64 bits; large amounts are decimal strings.")


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, dict):
        if depth > MAX_DEPTH:
            raise _too_deep()
        for name, inner in value.items():
            _check_text(name)
            _check(inner, depth + 1)
    elif isinstance(value, list):
        if depth > MAX_DEPTH:
            raise _too_deep()
        for inner in value:
            _check(inner, depth + 1)
    elif isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise _out_of_range()
    elif isinstance(value, int) and not -_INT64 <= value < _INT64:
        raise _out_of_range()


def _check_text(value: str) -> None:
    if "\x00" in value or not (value.isascii() or _encodable(value)):
        raise Malformed("invalid_character", "A string holds U+0000 or half of a surrogate pair; leave it out.")


def _encodable(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_media_type(request: Request) -> None:
    """Raise 415 unless the body, if there is one, is `application/json` in UTF-8 and not compressed."""
    headers = sent_headers(request.scope)
    if headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers:
        return
    if not _is_json_in_utf8(headers.get(b"content-type", b"")):
        raise Malformed("unsupported_media_type", "Send the body with Content-Type: application/json.", status=415)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Malformed("unsupported_encoding", "Send the body uncompressed, without Content-Encoding.", status=415)


@lru_cache(maxsize=64)
def _is_json_in_utf8(content_type: bytes) -> bool:
    kind, _, parameters = content_type.partition(b";")
    essence = kind.strip().lower()
    charset = parameters.strip().lower().removeprefix(b"charset=").strip(b'"')
    is_json = essence == b"application/json" or (essence.startswith(b"application/") and essence.endswith(b"+json"))
    return is_json and charset in (b"", b"utf-8", b"utf8")
