"""Decides what the OpenAPI document adds to FastAPI's: problem responses everywhere, the permissions of each route."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from app.web.auth import PARAMETERS, SCHEME, SCHEMES, Requires, cost_of
from app.web.errors import FieldError, Problem
from app.web.glossary import WORDS

_RESPONSES = {
    "400": ("BadRequest", "The body is not valid JSON."),
    "401": ("Unauthorized", "No key, or one that is not in force."),
    "403": ("Forbidden", "The key lacks the scope that this operation needs, or its mode does not fit."),
    "404": ("NotFound", "No such object of yours. Another tenant's id gives the same answer."),
    "409": ("Conflict", "Contradicts the present state."),
    "412": ("Stale", "The object is not what `If-Match` names; nothing was done."),
    "413": ("TooLarge", "The body is larger than 256 KiB."),
    "415": ("UnsupportedMediaType", "The body is not application/json, in UTF-8 and uncompressed."),
    "422": ("Invalid", "A field is wrong; `errors` names each. Nothing was written."),
    "429": ("Limited", "Too much at once; see Retry-After."),
    "500": ("InternalError", "Failed on our side and logged."),
    "503": ("Unavailable", "Something needed is away; try again."),
}
_BY_HEADER = {"Idempotency-Key": ("409",), "If-Match": ("409", "412")}
"""What an operation may answer because it takes a header."""

_EXAMPLE = {
    "type": "/errors#invalid_request",
    "title": "Unprocessable Content",
    "status": 422,
    "detail": "Correct quantity: quantity must be a decimal string such as '12.50', in quotes, without exponent.",
    "code": "invalid_request",
    "param": "quantity",
    "errors": [{"param": "quantity", "code": "decimal_string", "message": "must be a decimal string such as '12.50'"}],
    "request_id": "req_01kpx4t8yhe6rb2y6x3v1m9d0c",
    "retryable": False,
}


def routes_of(app: FastAPI) -> Iterator[RouteContext]:
    """Every API route as it is served, those of included routers with their prefix."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, APIRoute):
            yield context


def permissions_of(route: RouteContext) -> frozenset[str]:
    """The permissions that a caller of `route` needs: none found means that the route is public."""
    return frozenset(_required(route.dependant))


def _required(dependant: Dependant) -> Iterator[str]:
    if isinstance(dependant.call, Requires):
        yield from dependant.call.permissions
    for inner in dependant.dependencies:
        yield from _required(inner)


def install_openapi(app: FastAPI) -> None:
    """Make `app.openapi()` return the completed document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            _complete(app, document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _complete(app: FastAPI, document: dict[str, Any]) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (FieldError, Problem):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schema.pop("$defs", None)
        schemas[model.__name__] = schema
    schemas["Problem"]["examples"] = [_EXAMPLE]
    for schema in schemas.values():
        _describe(schema)
        for example in schema.get("examples", ()):
            _put_nulls_back(example, schema, schemas)
    _exemplify(schemas)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = SCHEMES
    components["responses"] = {
        name: {
            "description": description,
            "headers": {"Request-Id": {"description": "Names this request in our logs.", "schema": {"type": "string"}}},
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for name, description in _RESPONSES.values()
    }
    for route in routes_of(app):
        for method in route.methods or ():
            operation = document["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                permissions = sorted(permissions_of(route))
                _complete_operation(operation, permissions, path=str(route.path_format))
                if permissions:
                    cost = cost_of(route.dependant, method)
                    operation["x-cost"] = {"class": cost.cost_class.value, "weight": cost.weight}


def _describe(schema: dict[str, Any]) -> None:
    """Say what each field means, where its model does not."""
    properties: dict[str, Any] = schema.get("properties", {})
    for name, field in properties.items():
        if name in WORDS:
            field.setdefault("description", WORDS[name])


def _put_nulls_back(example: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """FastAPI takes them out of examples, at any depth."""
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(example, list):
        for one in example:
            _put_nulls_back(one, schema.get("items", {}), schemas)
    elif isinstance(example, dict):
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in example and {"type": "null"} in properties[name].get("anyOf", ()):
                example[name] = None
        for name, value in example.items():
            _put_nulls_back(value, properties.get(name, {}), schemas)


def _exemplify(schemas: dict[str, Any]) -> None:
    """Give each list an example: a page of its rows' own."""
    for schema in schemas.values():
        properties = schema.get("properties", {})
        row = properties.get("data", {}).get("items", {}).get("$ref", "").rpartition("/")[2]
        if row and "has_more" in properties and "examples" not in schema:
            schema["examples"] = [{"data": schemas[row].get("examples", [])[:1], "has_more": False}]


def _names_object(parameter: dict[str, Any]) -> bool:
    """A filter or cursor is the id of something that may not exist."""
    name: str = parameter["name"]
    return name.endswith("_id") or name in ("starting_after", "ending_before")


def _complete_operation(operation: dict[str, Any], permissions: list[str], *, path: str) -> None:
    statuses = ["422", "500", "503"]
    if permissions:
        statuses += ["401", "403", "429"]
        operation["x-permissions"] = permissions
        operation["security"] = [{SCHEME: []}]
        operation.setdefault("parameters", []).extend(PARAMETERS)
        said = operation.get("description", "")
        operation["description"] = f"{said}\n\nNeeds the scope `{'`, `'.join(permissions)}`.".strip()
    if "requestBody" in operation:
        statuses += ["400", "409", "413", "415"]
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in WORDS and "description" not in parameter["schema"]:
            parameter.setdefault("description", WORDS[parameter["name"]])
        statuses += _BY_HEADER.get(parameter["name"], ())
    if "{" in path or "requestBody" in operation or any(map(_names_object, operation.get("parameters", ()))):
        statuses += ["404"]
    for status in sorted(set(statuses)):
        operation["responses"][status] = {"$ref": f"#/components/responses/{_RESPONSES[status][0]}"}
