"""The source keeps the rules; and every rule finds the violation that is planted for it."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture import budgets, hygiene, purity, slices, statements
from tests.architecture.source import ROOT, plant

Check = Callable[[Path], list[str]]
CHECKS: list[Check] = [
    slices.slice_names,
    slices.meetings,
    slices.relationships,
    purity.impurities,
    purity.clocks,
    purity.floats,
    statements.sql_functions,
    budgets.sizes,
    budgets.fan_out,
    budgets.tasks,
    hygiene.machine_paths,
    hygiene.loose_locks,
    hygiene.foreign_lock_files,
]

ORDERS = "app/trading/orders"
LONG = "def long():\n" + "    x = 1\n" * 70
CREATE = "CREATE OR REPLACE FUNCTION"
HASH = "--hash=sha256:" + "0" * 64
NINE = "".join(f"import app.market.s{number}.service\n" for number in range(9))
ELEVEN = NINE + "import app.custody.ledger.service\nimport app.custody.accounts.domain\n"


class Planted(NamedTuple):
    """A file, what it says, and what the check must answer."""

    check: Check
    file: str
    text: str
    finding: str


PLANTED = [
    Planted(slices.slice_names, f"{ORDERS}/utils.py", "", "no file 'utils.py'"),
    Planted(slices.slice_names, f"{ORDERS}/helpers/a.py", "", "no folder 'helpers'"),
    Planted(slices.slice_names, f"{ORDERS}/sql/a.txt", "", "sql/ holds .sql only"),
    Planted(slices.slice_names, f"{ORDERS}/notes.md", "", "no file 'notes.md'"),
    Planted(slices.slice_names, "app/trading/shared.py", "", "a wing contains slices only"),
    Planted(
        slices.slice_names, f"{ORDERS}/__init__.py", "from app.trading.orders.service import x\n", "docstring only"
    ),
    Planted(slices.slice_names, "app/trading/__init__.py", "x = 1\n", "docstring only"),
    Planted(slices.meetings, f"{ORDERS}/service.py", "from app.custody.ledger.tables import X\n", "ledger.tables"),
    Planted(slices.meetings, f"{ORDERS}/service.py", "import app.custody.ledger.repository\n", "ledger.repository"),
    Planted(slices.meetings, f"{ORDERS}/service.py", "from app.custody.ledger import tables\n", "ledger.tables"),
    Planted(slices.meetings, f"{ORDERS}/service.py", "from app.trading import risk\n", "imports app.trading.risk;"),
    Planted(
        slices.meetings, f"{ORDERS}/service.py", "def f():\n    from app.trading.risk.rules import a\n", "risk.rules"
    ),
    Planted(slices.meetings, "app/web/a.py", "from app.platform.tenancy.tables import T\n", "tenancy.tables"),
    Planted(slices.meetings, "app/adapters/kite/a.py", "from app.trading.orders.routes import r\n", "orders.routes"),
    Planted(slices.meetings, "workers/a.py", "from app.trading.orders.repository import r\n", "orders.repository"),
    Planted(
        slices.relationships,
        f"{ORDERS}/tables.py",
        "class Order:\n    account: 'Account' = Relationship(lazy='raise')\n",
        "a class of another module",
    ),
    Planted(
        slices.relationships,
        f"{ORDERS}/tables.py",
        "class Fill: ...\nclass Order:\n    fills = relationship('Fill')\n",
        'without lazy="raise"',
    ),
    *(
        Planted(purity.impurities, place, "import time\n", "imports time in the pure core")
        for place in (
            "app/kernel/a.py",
            "app/quant/a.py",
            "app/engine/kernels/a.py",
            f"{ORDERS}/domain.py",
            f"{ORDERS}/types/a.py",
            "app/trading/risk/rules/a.py",
            "app/trading/strategies/library/a.py",
        )
    ),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "def f():\n    import random\n", "imports random"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "from os import environ\n", "imports os.environ"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "import logging\n", "imports logging"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "import urllib.request\n", "imports urllib.request"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "open('x')\n", "calls open"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "uuid.uuid4()\n", "calls uuid.uuid4"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "uuid7()\n", "calls uuid7"),
    Planted(purity.impurities, "app/quant/a.py", "np.random.default_rng()\n", "calls np.random.default_rng"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "datetime.now(UTC)\n", "reads the clock by datetime.now"),
    Planted(purity.impurities, f"{ORDERS}/domain.py", "datetime.datetime.now()\n", "reads the clock"),
    Planted(purity.clocks, f"{ORDERS}/service.py", "datetime.now(UTC)\n", "reads the clock by datetime.now"),
    Planted(purity.clocks, f"{ORDERS}/service.py", "time.time()\n", "reads the clock by time.time"),
    Planted(purity.floats, "app/kernel/a.py", "x = 0.5\n", "the float 0.5"),
    Planted(purity.floats, "app/custody/ledger/service.py", "x = float('1')\n", "names float"),
    Planted(purity.floats, "app/trading/risk/rules/a.py", "def f(x: float): ...\n", "names float"),
    Planted(purity.floats, "app/trading/portfolio/domain.py", "x = np.float64(1)\n", "names np.float64"),
    Planted(purity.floats, f"{ORDERS}/tables.py", "x = Column(sa.Numeric)\n", "names sa.Numeric"),
    Planted(purity.floats, f"{ORDERS}/domain.py", "x = a / b\n", "divides with /"),
    Planted(purity.floats, f"{ORDERS}/domain.py", "a /= b\n", "divides with /"),
    Planted(
        statements.sql_functions, f"{ORDERS}/sql/a.sql", f"{CREATE} place(a int) AS $$", "not named after its slice"
    ),
    Planted(
        statements.sql_functions, f"{ORDERS}/sql/a.sql", "CREATE FUNCTION orders_a() AS $$", "not CREATE OR REPLACE"
    ),
    Planted(
        statements.sql_functions,
        f"{ORDERS}/sql/a.sql",
        f"{CREATE} orders_a()\nSECURITY DEFINER AS $$ $$;\n{CREATE} orders_b() SET search_path = public, pg_temp AS $$",
        "a.sql:1 orders_a is SECURITY DEFINER without",
    ),
    Planted(
        statements.sql_functions,
        f"{ORDERS}/sql/a.sql",
        f"{CREATE} orders_a() SECURITY DEFINER SET search_path = pg_temp, public AS $$",
        "ends with pg_temp",
    ),
    Planted(budgets.sizes, f"{ORDERS}/service.py", "x = 1\n" * 401, "401 lines"),
    Planted(budgets.sizes, f"{ORDERS}/service.py", LONG, "long has 71 lines"),
    Planted(budgets.sizes, "tests/unit/test_a.py", LONG, "long has 71 lines"),
    Planted(
        budgets.sizes, f"{ORDERS}/service.py", "class A:\n    async " + LONG.replace("\n", "\n    "), "long has 71"
    ),
    Planted(budgets.sizes, f"{ORDERS}/sql/orders.sql", "select 1;\n" * 401, "401 lines"),
    Planted(budgets.fan_out, f"{ORDERS}/repository.py", NINE, "imports 9 slices, of at most 8"),
    Planted(budgets.fan_out, "app/web/a.py", NINE, "imports 9 slices, of at most 8"),
    Planted(budgets.fan_out, f"{ORDERS}/service/place.py", ELEVEN, "imports 11 slices, of at most 10"),
    Planted(budgets.tasks, "workers/a.py", "@app.task(queue='x')\ndef f(*, a, **_):\n" + "    a()\n" * 9, "no shim"),
    Planted(budgets.tasks, "workers/a.py", "@shared_task\ndef f(a, **_): ...\n", "keywords only"),
    Planted(budgets.tasks, "workers/a.py", "@shared_task\ndef f(*, a): ...\n", "keywords only"),
    Planted(
        hygiene.machine_paths, "README.md", "see /" + "home/somebody/mandi\n", "README.md:1 names /" + "home/somebody"
    ),
    Planted(hygiene.machine_paths, "a.toml", "\nx = '/" + "Users/me/x'\n", "a.toml:2"),
    Planted(hygiene.machine_paths, "a.py", f"x = {str(ROOT)!r}\n", "a.py:1"),
    Planted(hygiene.loose_locks, "requirements.lock", "numpy==2.4.0\n", "not pinned"),
    Planted(hygiene.loose_locks, "requirements.lock", f"numpy>=2.4.0 {HASH}\n", "not pinned"),
    Planted(hygiene.loose_locks, "requirements.lock", f"numpy @ https://a.b/c.whl {HASH}\n", "an address"),
    Planted(hygiene.loose_locks, "requirements.lock", "--index-url x\n", "an address"),
    Planted(hygiene.foreign_lock_files, "uv.lock", "", "use the hashed"),
]

ALLOWED = [
    (slices.slice_names, f"{ORDERS}/service/place.py", "x = 1\n"),
    (slices.slice_names, f"{ORDERS}/__init__.py", '"""Orders."""\n'),
    (slices.slice_names, "app/market/data/library/bars/a.parquet", ""),
    (slices.slice_names, f"{ORDERS}/sql/place.sql", "select 1;\n"),
    (slices.meetings, f"{ORDERS}/service.py", "from app.custody.ledger.service import post\n"),
    (slices.meetings, f"{ORDERS}/service.py", "from app.trading.orders.tables import Order\n"),
    (slices.meetings, "app/main.py", "from app.trading.orders.routes import router\n"),
    (slices.meetings, "app/bootstrap.py", "import app.trading.orders.tables\n"),
    (slices.meetings, "migrations/env.py", "import app.trading.orders.tables\n"),
    (
        slices.relationships,
        f"{ORDERS}/tables.py",
        "class Fill: ...\nclass Order:\n    fills: list['Fill'] = Relationship(lazy='raise')\n",
    ),
    (
        statements.sql_functions,
        f"{ORDERS}/sql/a.sql",
        f"{CREATE} order_a() SECURITY DEFINER\nSET search_path = public, pg_temp AS $$ $$;\n{CREATE} trading_b() AS $$",
    ),
    (purity.impurities, f"{ORDERS}/service.py", "import time\n"),
    (purity.impurities, f"{ORDERS}/domain.py", "from datetime import datetime\nx = opened\n"),
    (purity.clocks, "app/bootstrap.py", "datetime.now(UTC)\n"),
    (purity.clocks, f"{ORDERS}/service.py", "time.perf_counter()\n"),
    (purity.floats, "app/quant/a.py", "x = 0.5 / 2\n"),
    (purity.floats, f"{ORDERS}/domain.py", "x = 5 // 2\n"),
    (budgets.sizes, f"{ORDERS}/service.py", "x = 1\n" * 400),
    (budgets.sizes, "migrations/versions/0001.py", "x = 1\n" * 401),
    (budgets.fan_out, "app/main.py", ELEVEN),
    (budgets.fan_out, f"{ORDERS}/service.py", NINE),
    (budgets.tasks, "workers/a.py", "@app.task(queue='x')\ndef f(*, tenant_id, **_):\n    run(tenant_id)\n"),
    (hygiene.machine_paths, "a.md", "GET https://example.com/home/page and app/home/x and ~/work/x\n"),
    (hygiene.loose_locks, "requirements.lock", f"# by uv\nnumpy==2.4.0 ; python_version > '3' \\\n    {HASH}\n"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_source_keeps_the_rule(check: Check) -> None:
    assert check(ROOT) == []


@pytest.mark.parametrize("case", PLANTED, ids=lambda case: f"{case.check.__name__}: {case.finding}")
def test_a_planted_violation_is_found(case: Planted, tmp_path: Path) -> None:
    findings = case.check(plant(tmp_path, {case.file: case.text}))
    assert any(case.finding in finding for finding in findings), findings


@pytest.mark.parametrize(("check", "file", "text"), ALLOWED, ids=lambda part: getattr(part, "__name__", None))
def test_what_the_rules_allow_is_not_found(check: Check, file: str, text: str, tmp_path: Path) -> None:
    assert check(plant(tmp_path, {file: text})) == []


def test_every_rule_has_a_planted_violation() -> None:
    assert {case.check for case in PLANTED} == set(CHECKS)


def test_a_sql_function_that_two_slices_define_is_found(tmp_path: Path) -> None:
    text = f"{CREATE} trading_a() AS $$"
    root = plant(tmp_path, {f"{ORDERS}/sql/a.sql": text, "app/trading/risk/sql/a.sql": text})
    assert any("also defined in" in finding for finding in statements.sql_functions(root))
