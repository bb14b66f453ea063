"""The import contracts of `pyproject.toml` hold; and each is broken by the violation that is planted for it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, WINGS, plant

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"

PLANTED = {
    "app/kernel/a.py": "import app.infra.b\nimport app.quant.c\n",
    "app/infra/b.py": "import numba\nimport workers\nfrom fastapi import FastAPI\n",
    "app/quant/c.py": "import sqlalchemy\nimport httpx\n",
    "app/engine/kernels/d.py": "import numba\n",
    "app/engine/e.py": "def f():\n    import redis\n",
    "app/bootstrap.py": "x = 1\n",
    "app/local/a.py": "x = 1\n",
    "app/web/a.py": "x = 1\n",
    "app/stray.py": "x = 1\n",
    "app/cli.py": "import app.main\n",
    "app/main.py": "import celery\nimport fastapi\n",
    "app/market/instruments/service.py": "import app.market.data.service\nfrom starlette.requests import Request\n",
    "app/market/data/service.py": "import app.market.news.service\n",
    "app/market/news/service.py": "x = 1\n",
    "app/market/stray/service.py": "x = 1\n",
    "app/platform/tenancy/service.py": "import app.custody.ledger.service\n",
    "app/platform/audit/service.py": "import app.platform.identity.service\n",
    "app/platform/identity/service.py": "import app.platform.identity.routes\n",
    "app/platform/identity/routes.py": "import fastapi\n",
    "app/custody/ledger/domain.py": "import app.custody.ledger.ports\n",
    "app/custody/ledger/ports.py": "x = 1\n",
    "app/custody/ledger/service.py": "x = 1\n",
    "app/custody/ledger/utils.py": "x = 1\n",
    "app/custody/accounts/service.py": "import app.custody.ledger.service\n",
    "app/trading/risk/rules/a.py": "from sqlmodel import SQLModel\n",
    "app/trading/orders/types/a.py": "import app.infra.b\n",
    "app/trading/strategies/library/a.py": "import celery\n",
    "app/trading/paper/service.py": "import app.trading.portfolio.service\n",
    "app/trading/portfolio/service.py": "x = 1\n",
    "app/trading/brokers/service.py": "import app.trading.orders.service\n",
    "app/trading/orders/service.py": "x = 1\n",
    "app/insight/analytics/service.py": "import app.insight.reports.service\n",
    "app/insight/reports/service.py": "x = 1\n",
    "app/adapters/kite/a.py": "import app.adapters.stripe.b\n",
    "app/adapters/stripe/b.py": "x = 1\n",
}

EXPECTED = [
    "app.kernel is not allowed to import app.infra",
    "app.kernel is not allowed to import app.quant",
    "app.cli is not allowed to import app.main",
    "- app.stray",
    "app.platform is not allowed to import app.custody",
    "app.market.instruments is not allowed to import app.market.data",
    "app.market.data is not allowed to import app.market.news",
    "- app.market.stray",
    "app.platform.audit is not allowed to import app.platform.identity",
    "app.custody.accounts is not allowed to import app.custody.ledger",
    "app.trading.paper is not allowed to import app.trading.portfolio",
    "app.trading.brokers is not allowed to import app.trading.orders",
    "app.insight.analytics is not allowed to import app.insight.reports",
    "app.platform.identity.service is not allowed to import app.platform.identity.routes",
    "app.custody.ledger.domain is not allowed to import app.custody.ledger.ports",
    "- app.custody.ledger.utils",
    "app.infra is not allowed to import fastapi",
    "app.market.instruments.service is not allowed to import starlette",
    "app.quant is not allowed to import sqlalchemy",
    "app.quant is not allowed to import httpx",
    "app.engine is not allowed to import redis",
    "app.trading.risk.rules is not allowed to import sqlmodel",
    "app.trading.orders.types is not allowed to import app.infra",
    "app.trading.strategies.library is not allowed to import celery",
    "app is not allowed to import celery",
    "app is not allowed to import workers",
    "app.infra.b -> numba",
    "app.adapters.kite is not allowed to import app.adapters.stripe",
]
NOT_EXPECTED = [
    "app.main -> fastapi",
    "app.platform.identity.routes -> fastapi",
    "app.engine.kernels.d -> numba",
]


def lint(root: Path) -> tuple[int, str]:
    """Exit code and output of import-linter over the packages in `root`, by the project's own contracts."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root), "COLUMNS": "400", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says about the planted tree."""
    root = plant(tmp_path_factory.mktemp("planted"), PLANTED)
    code, output = lint(root)
    assert code == 1, output
    return output


def test_the_import_contracts_hold() -> None:
    code, output = lint(ROOT)
    assert code == 0, output
    assert " 0 broken" in output


@pytest.mark.parametrize("finding", EXPECTED)
def test_a_planted_import_is_found(report: str, finding: str) -> None:
    assert finding in report, report


@pytest.mark.parametrize("line", NOT_EXPECTED)
def test_an_allowed_import_is_not_found(report: str, line: str) -> None:
    assert line not in report, report


def test_every_contract_is_broken_by_something_planted(report: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    kept = [contract["name"] for contract in contracts if f"{contract['name']} BROKEN" not in report]
    assert kept == []


def test_every_wing_has_a_contract_that_names_all_its_slices() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    exhaustive = {contract["containers"][0] for contract in contracts if contract.get("exhaustive")}
    assert exhaustive >= {f"app.{wing}" for wing in WINGS} | {"app"}
