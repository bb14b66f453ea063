"""Decides what `ETag`, `If-None-Match` and `If-Match` mean: a strong tag is the digest of the answer's bytes."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from app.kernel.errors import DomainError, Kind
from app.web.context import sent_header
from app.web.models import ApiModel

_Match = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=1024,
        description="The `ETag` of the object as you know it: when it has changed since, nothing is done (412).",
        examples=['"5d41402abc4b2a76b9719d911017c592"'],
    ),
]


def etag(content: bytes) -> str:
    """The strong tag of an answer."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def etag_of(shown: ApiModel) -> str:
    """The tag that `GET` gives for `shown`."""
    return etag(shown.model_dump_json().encode())


def conditional(request: Request, response: Response) -> Response:
    """A `GET`'s answer with its tag, or a 304 when the caller has it already."""
    if response.status_code != 200 or not hasattr(response, "body"):
        return response
    tag = _own_tag(response)
    if tag is None:
        tag = etag(bytes(response.body))
        response.raw_headers.append((b"etag", tag.encode()))
    asked = sent_header(request.scope, b"if-none-match")
    if asked is not None and _names(asked, tag, weakly=True):
        return Response(status_code=304, headers={"ETag": tag})
    return response


def _own_tag(response: Response) -> str | None:
    for name, value in response.raw_headers:
        if name == b"etag":
            return value.decode()
    return None


def _names(header: str, tag: str, *, weakly: bool) -> bool:
    given = [one.strip() for one in header.split(",")]
    if weakly:
        given = [one.removeprefix("W/") for one in given]
    return "*" in given or tag in given


@dataclass(frozen=True, slots=True)
class Precondition:
    """What the caller believes an object to be. `given` is False when it said nothing."""

    header: str | None

    @property
    def given(self) -> bool:
        return self.header is not None

    def check(self, present: ApiModel) -> None:
        """Raise `precondition_failed` when `present`, read under a lock, is not what the caller knows."""
        if self.header is not None and not _names(self.header, etag_of(present), weakly=False):
            raise DomainError(
                "precondition_failed",
                Kind.STALE,
                "The object has changed since you read it; GET it again, and send its present ETag.",
                param="If-Match",
            )


async def if_match(header: _Match = None) -> Precondition:
    """What the caller said; routes take it as `Expected`."""
    return Precondition(header)


Expected = Annotated[Precondition, Depends(if_match)]
