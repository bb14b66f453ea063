"""The OpenAPI document says everything a caller needs: examples that validate, a description of each field."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI

from app.infra.settings import Settings
from app.main import create_app
from app.web.openapi import routes_of
from app.web.routing import MannerlyRoute

READS = frozenset[str]()
"""POSTs that read or preview only, and so need no Idempotency-Key. None so far."""

PLAIN = ("/livez", "/readyz", "/metrics", "/errors", "/errors.json", "/events", "/events.json")
"""Routes without the API's manners: for probes, scrapers and people."""

PROTOCOL = ("/.well-known/", "/oauth2/")
"""Endpoints whose standards say what they take and answer: forms, OAuth's own errors, no keys. A code or a refresh
token works once, which is their idempotency."""

PAGES = ("/login", "/signup", "/verify", "/forgot", "/reset", "/logout", "/invitation", "/account/")
"""A person's pages, with signed forms, and what their scripts call with the browser's cookie."""


@pytest.fixture(scope="module")
def app() -> FastAPI:
    url = "postgresql://nobody@127.0.0.1:1/none"
    names = ("APP_DATABASE_URL", "DISPATCH_DATABASE_URL", "REFERENCE_DATABASE_URL")
    settings = dict.fromkeys(names, url) | {"REDIS_URL": "redis://127.0.0.1:1", "MANDI_DATA_DIR": Path("nowhere")}
    return create_app(Settings.model_validate(settings))


def _operations(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in app.openapi()["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def test_every_route_of_the_api_has_its_manners(app: FastAPI) -> None:
    plain = {str(route.path_format) for route in routes_of(app) if not isinstance(route.original_route, MannerlyRoute)}
    assert {path for path in plain if not path.startswith((*PLAIN, *PROTOCOL, *PAGES))} == set()


def test_the_api_is_what_lies_under_its_version_and_all_of_it_is_documented(app: FastAPI) -> None:
    mannerly = {str(route.path_format) for route in routes_of(app) if isinstance(route.original_route, MannerlyRoute)}
    assert mannerly == set(app.openapi()["paths"])
    assert {path for path in mannerly if not path.startswith("/v1/")} == set()


def test_every_post_that_acts_takes_an_idempotency_key(app: FastAPI) -> None:
    lacking = {
        where
        for where, operation in _operations(app)
        if where.startswith("post ")
        and not any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", []))
    }
    assert lacking == READS


def test_every_parameter_is_described(app: FastAPI) -> None:
    bare = [
        f"{where}: {one['name']}"
        for where, operation in _operations(app)
        for one in operation.get("parameters", [])
        if not (one.get("description") or one["schema"].get("description"))
    ]
    assert bare == []


def test_every_field_is_described(app: FastAPI) -> None:
    bare = [
        f"{name}.{field}"
        for name, schema in app.openapi()["components"]["schemas"].items()
        for field, inner in schema.get("properties", {}).items()
        if not inner.get("description") and not _self_explained(app, inner)
    ]
    assert bare == []


def _self_explained(app: FastAPI, schema: dict[str, Any]) -> bool:
    """It is another schema that says what it is."""
    reference = schema.get("$ref")
    return bool(reference and app.openapi()["components"]["schemas"][reference.rpartition("/")[2]].get("description"))


def _contents(app: FastAPI) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON body and every JSON answer that is a success."""
    for where, operation in _operations(app):
        places = {"body": operation.get("requestBody", {})} | {
            status: answer for status, answer in operation["responses"].items() if status.startswith("2")
        }
        for place, said in places.items():
            content = said.get("content", {}).get("application/json")
            if content is not None:
                yield f"{where} {place}", content


def test_every_body_and_answer_has_an_example_that_its_schema_takes(app: FastAPI) -> None:
    components = {"components": app.openapi()["components"]}
    wrong = []
    for where, content in _contents(app):
        found = list(_examples(app, content))
        if not found:
            wrong.append(f"{where}: no example")
        for example in found:
            validator = jsonschema.Draft202012Validator(content["schema"] | components)
            wrong += [f"{where}: {error.json_path} {error.message}" for error in validator.iter_errors(example)]
    assert wrong == []


def _examples(app: FastAPI, content: dict[str, Any]) -> Iterator[Any]:
    yield from (one["value"] for one in content.get("examples", {}).values())
    if "example" in content:
        yield content["example"]
    schema = content["schema"]
    for one in schema.get("anyOf", [schema]):
        target = app.openapi()["components"]["schemas"][one["$ref"].rpartition("/")[2]] if "$ref" in one else one
        yield from target.get("examples", [])
