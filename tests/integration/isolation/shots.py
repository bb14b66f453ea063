"""Every place of the API where an id may stand, and a request with one id put there. Nothing here names a route.

Decides that an attack reaches the check it is meant for: whatever other ids a request needs are the attacker's own, as
are the ids of rows that all share; so the id under attack is the only one that is wrong.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
from fastapi import FastAPI

from app.kernel.ids import encode_id

NONSENSE = "nonsense"
SHARED = frozenset({"ins"})
"""Kinds of rows that belong to nobody."""
_ID = re.compile(r"([a-z]{3})_[0-9a-hjkmnp-tv-z]{26}")
_LOOKS_LIKE = re.compile(r"looks like ([a-z]+)_ and")
_UNSTABLE = re.compile(r'"(request_id|[a-z_]+_at)":"[^"]*"')
Path = tuple[str | int, ...]
Kinds = dict[tuple[str, str, Path], str]
"""What the API told of the kind of id at each place: by operation, where, and what it is called there."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one route, as the OpenAPI document describes it, with one example of what it takes."""

    method: str
    path: str
    document: dict[str, Any]
    example: dict[str, Any] | None

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def needs(self) -> frozenset[str]:
        """The permissions that it declares."""
        return frozenset(self.document.get("x-permissions", ()))

    @property
    def streams(self) -> bool:
        """It answers with server-sent events, without end."""
        return "text/event-stream" in self.document["responses"].get("200", {}).get("content", {})


@dataclass(frozen=True, slots=True)
class Place:
    """Where an id may stand: in the path, the query, a header, or at `at` in the body. `prefix` is its kind."""

    operation: Operation
    where: str
    at: Path
    prefix: str = ""
    required: bool = False

    def __str__(self) -> str:
        return f"{self.operation.name}: {'.'.join(map(str, self.at))} in the {self.where}"


def operations(app: FastAPI) -> list[Operation]:
    """Every operation of the document, once for each example of its body."""
    document = app.openapi()
    schemas = document.get("components", {}).get("schemas", {})
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for example in _examples(operation, schemas):
                found.append(Operation(method.upper(), path, operation, example))
    return found


def _body_schema(operation: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema: dict[str, Any] = content.get("schema", {})
    return schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def _examples(operation: dict[str, Any], schemas: dict[str, Any]) -> list[dict[str, Any] | None]:
    """The examples of the request body; the first names every id that none of them does."""
    schema = _body_schema(operation, schemas)
    if not schema:
        return [None]
    examples: list[dict[str, Any]] = schema.get("examples", [])
    assert examples, f"{operation['operationId']}: its body has no example"
    named = {name for example in examples for name in example}
    missing = [name for name in schema.get("properties", {}) if is_id(name) and name not in named]
    return [examples[0] | dict.fromkeys(missing, NONSENSE), *examples[1:]]


def is_id(name: str) -> bool:
    """Does a parameter or field of this name take an id?"""
    return name == "id" or name.endswith("_id") or name in ("starting_after", "ending_before", "Mandi-Act-As")


def _own_words(name: str) -> bool:
    """An id that the caller makes up."""
    return name == "client_order_id"


def _leaves(value: Any, at: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*at, index))
    elif isinstance(value, str):
        yield at, value


def places(operation: Operation) -> Iterator[Place]:
    """Every place for an id in `operation`; the kinds of some are not known yet."""
    for parameter in operation.document.get("parameters", ()):
        if is_id(parameter["name"]) and parameter["in"] in ("path", "query", "header"):
            required = parameter.get("required", False)
            yield Place(operation, parameter["in"], (parameter["name"],), required=required)
    for at, text in _leaves(operation.example or {}):
        matched = _ID.fullmatch(text)
        name = next((part for part in reversed(at) if isinstance(part, str)), "")
        if matched is not None or (is_id(name) and not _own_words(name)):
            yield Place(operation, "body", at, matched[1] if matched else "")


def _put(body: Any, at: Path, value: str) -> Any:
    changed = copy.deepcopy(body)
    inner = changed
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return changed


def _without(body: Any, name: str) -> Any:
    return {key: value for key, value in body.items() if key != name}


@dataclass(slots=True)
class Gun:
    """Fires requests as one caller. `own_id`: the id of every row of the caller's; `shared_id`: of every shared row."""

    client: httpx.AsyncClient
    headers: dict[str, str]
    own_id: UUID
    shared_id: UUID
    kinds: Kinds
    fired: int = 0
    asked: int = 0
    """How many of them only asked for the kind of an id."""

    def kind_of(self, place: Place) -> str:
        """The prefix of the ids that belong there; empty when it is not known."""
        return place.prefix or self.kinds.get((place.operation.name, place.where, place.at), "")

    async def learn(self, operation: Operation) -> list[Place]:
        """Ask the API itself which kind of id belongs at each place of `operation`. Returns the places it told of."""
        for place in places(operation):
            if not self.kind_of(place):
                self.asked += 1
                told = _LOOKS_LIKE.search((await self.fire(operation, place, NONSENSE)).text)
                if told is not None:
                    self.kinds[operation.name, place.where, place.at] = told[1]
        return [place for place in places(operation) if self.kind_of(place)]

    def _fitting(self, place: Place) -> str:
        kind = self.kind_of(place)
        return encode_id(kind, self.shared_id if kind in SHARED else self.own_id) if kind else NONSENSE

    async def fire(self, operation: Operation, at: Place | None = None, value: str = "") -> httpx.Response:
        """`value` at one place; wherever else the request needs an id, one that the caller may use."""
        self.fired += 1
        path, query, headers, body = operation.path, {}, dict(self.headers), copy.deepcopy(operation.example)
        for parameter in operation.document.get("parameters", ()):
            name, schema = parameter["name"], parameter["schema"]
            if parameter["in"] == "path" and not is_id(name):
                path = path.replace("{" + name + "}", schema["examples"][0])
            elif parameter["in"] == "query" and parameter.get("required") and not is_id(name):
                query[name] = str(schema["examples"][0])
        for place in places(operation):
            name, attacked = str(place.at[0]), at is not None and (place.where, place.at) == (at.where, at.at)
            text = value if attacked else self._fitting(place)
            if place.where == "path":
                path = path.replace("{" + name + "}", text)
            elif place.where == "query" and (attacked or place.required):
                query[name] = text
            elif place.where == "header" and attacked:
                headers[name] = text
            elif place.where == "body":
                body = _put(body, place.at, text) if attacked or place.prefix else _without(body, name)
        return await self.client.request(operation.method, path, headers=headers, params=query, json=body)


def masked(answer: httpx.Response, sent: str) -> str:
    """The answer without what differs between two equal requests: the id that was sent, the request's own, times."""
    text = answer.text.replace(sent, "<sent>")
    text = _UNSTABLE.sub("", text)
    return f"{answer.status_code} {_ID.sub('<id>', text) if answer.status_code < 400 else text}"
