"""The gateway as a whole, without its database: what its document promises."""

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.infra.settings import Settings
from app.main import create_app


@pytest.fixture(scope="module")
def app() -> FastAPI:
    url = "postgresql://nobody@127.0.0.1:1/none"
    return create_app(
        Settings.model_validate(
            {
                "APP_DATABASE_URL": url,
                "DISPATCH_DATABASE_URL": url,
                "REFERENCE_DATABASE_URL": url,
                "REDIS_URL": "redis://127.0.0.1:1",
                "MANDI_DATA_DIR": Path("nowhere"),
            }
        )
    )


def test_every_operation_is_tagged_summed_up_and_described(app: FastAPI) -> None:
    document = app.openapi()
    assert document["openapi"].startswith("3.1")
    tags = {tag["name"] for tag in document["tags"]}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            where = f"{method} {path}"
            assert set(operation["tags"]) <= tags, where
            assert operation["summary"] and operation["description"], where
            assert operation["security"], where
            assert {"401", "403", "422", "500", "503"} <= operation["responses"].keys(), where


def test_every_body_has_an_example_and_refuses_unknown_fields(app: FastAPI) -> None:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                schema = schemas[content["schema"]["$ref"].rpartition("/")[2]]
                assert schema["examples"], path
                assert schema["additionalProperties"] is False, path


def test_every_reference_in_the_document_leads_somewhere(app: FastAPI) -> None:
    document = app.openapi()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                target: object = document
                for part in reference.removeprefix("#/").split("/"):
                    assert isinstance(target, dict) and part in target, reference
                    target = target[part]
            for value in node.values():
                walk(value)
        if isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)


@pytest.mark.asyncio
async def test_the_documentation_is_served_with_a_policy_that_lets_it_load(app: FastAPI) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://x") as client:
        page = await client.get("/docs")
        document = await client.get("/openapi.json")
    assert page.status_code == 200
    assert "cdn.jsdelivr.net" in page.headers["Content-Security-Policy"]
    assert document.json()["info"]["title"] == "Mandi"
    assert document.headers["Content-Security-Policy"].startswith("default-src 'none'")
