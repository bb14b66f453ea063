"""The image, the compose file, the chart and the CI entry say what they should, without a container engine."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.infra.settings import Settings

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "mandi"
VARIABLES = {str(field.alias) for field in Settings.model_fields.values()}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("no hadolint binary for this platform")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.stdout + done.stderr == ""


def test_the_image_runs_as_an_ordinary_user_from_hashed_requirements() -> None:
    text = (ROOT / "Dockerfile").read_text()
    last_stage = text[text.rindex("FROM ") :]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    assert "--require-hashes requirements.lock" in text
    assert "requirements-test.lock" not in text
    assert "ARG BASE=python:3.11-slim" in text


def test_the_build_context_is_an_allow_list() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert {"!app", "!migrations", "!workers", "!requirements.lock"} <= set(lines)


def test_compose_runs_our_processes_without_privileges_and_with_known_settings() -> None:
    services = load(ROOT / "compose.yaml")["services"]
    assert set(services) == {"postgres", "valkey", "migrate", "gateway", "worker", "daemon"}
    for name in ("migrate", "gateway", "worker", "daemon"):
        assert services[name]["cap_drop"] == ["ALL"], name
        assert services[name]["read_only"] is True, name
        assert set(services[name]["environment"]) - {"DATABASE_URL"} <= VARIABLES, name
    for name in ("gateway", "worker", "daemon"):
        assert "MIGRATE_DATABASE_URL" not in services[name]["environment"], "only the migration owns tables"
        assert "DATABASE_URL" not in services[name]["environment"], name
    assert {name for name in services if "healthcheck" in services[name]} == {"postgres", "valkey", "gateway"}


def test_continuous_integration_calls_the_same_entry_as_a_developer() -> None:
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("python3 start_trading.py test")
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    steps = load(ROOT / ".github/workflows/ci.yml")["jobs"]["test"]["steps"]
    assert steps[-1] == {"run": "bash .ci/run"}


def test_the_charts_schema_knows_every_value_and_requires_no_other() -> None:
    values, schema = load(CHART / "values.yaml"), json.loads((CHART / "values.schema.json").read_text())
    assert set(values) == set(schema["properties"]) - {"global"}
    for section, kept in values.items():
        known = schema["properties"][section].get("properties")
        if isinstance(kept, dict) and known:
            assert set(kept) <= set(known), section
            assert set(schema["properties"][section].get("required", [])) <= set(kept), section
    assert load(CHART / "Chart.yaml")["appVersion"] == load(CHART / "Chart.yaml")["version"]


def test_the_chart_holds_no_secret_and_names_settings_that_exist() -> None:
    text = "".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
    assert "kind: Secret" not in text
    named = set(re.findall(r'"name" "([A-Z_]+)"', text)) | set(re.findall(r"\{name: ([A-Z_]+),", text))
    assert named - {"DATABASE_URL"} <= VARIABLES
    assert {"APP_DATABASE_URL", "DISPATCH_DATABASE_URL", "REFERENCE_DATABASE_URL", "REDIS_URL"} <= named


def test_every_template_reads_only_values_that_exist() -> None:
    values = load(CHART / "values.yaml")
    for path in sorted((CHART / "templates").iterdir()):
        for dotted in re.findall(r"\.Values\.([A-Za-z.]+)", path.read_text()):
            found: Any = values
            for key in dotted.rstrip(".").split("."):
                assert key in found, f"{path.name}: .Values.{dotted}"
                found = found[key]


def test_the_chart_renders_hardened_pods() -> None:
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("no helm binary on PATH")
    assert subprocess.run([helm, "lint", "--strict", CHART], capture_output=True, check=False).returncode == 0
    done = subprocess.run([helm, "template", "cell", CHART], capture_output=True, text=True, check=True)
    documents = [document for document in yaml.safe_load_all(done.stdout) if document]
    pods = [d["spec"]["template"]["spec"] for d in documents if d["kind"] in ("Deployment", "Job")]
    assert len(pods) == 7
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"] + pod.get("initContainers", []):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]
    owners = [pod for pod in pods if "MIGRATE_DATABASE_URL" in [e["name"] for e in pod["containers"][0]["env"]]]
    assert len(owners) == 1, "only the migration owns tables"
    misspelt = subprocess.run(
        [helm, "template", "cell", CHART, "--set", "gateway.replica=3"], capture_output=True, check=False
    )
    assert misspelt.returncode != 0
