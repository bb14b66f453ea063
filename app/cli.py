"""The `mandi` command. Decides its verbs and options; every body lives elsewhere and is imported when it is called."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.kernel.orders import Product
from app.local.bands import bands
from app.local.keys import keys
from app.local.risk import risk
from app.local.secrets import secrets
from app.local.sweeps import sweeps
from app.local.tenants import tenants
from app.local.terminal import BarFiles, Charges, Currency, Day, Given, Json, ProgramFile, Term, explained, show
from app.local.work import work

if TYPE_CHECKING:
    from app.local.home import Home

app = typer.Typer(name="mandi", no_args_is_help=True, add_completion=False, help="Mandi: trading as an API.")

bars = typer.Typer(no_args_is_help=True, help="Stored market data.")
app.add_typer(bars, name="bars")
app.add_typer(bands, name="bands")
backtests = typer.Typer(no_args_is_help=True, help="Backtests on files of bars; no stack is needed.")
app.add_typer(backtests, name="backtest")
strategies = typer.Typer(no_args_is_help=True, help="Strategy programs.")
app.add_typer(strategies, name="strategies")
app.add_typer(sweeps, name="sweep")
app.add_typer(secrets, name="secrets")
app.add_typer(keys, name="keys")
app.add_typer(tenants, name="tenants")
app.add_typer(risk, name="risk")
app.add_typer(work, name="work")

Limit = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many rows, the newest first.")]
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True}


def main() -> None:
    """Entry point of the console script."""
    app()


def _home() -> "Home":
    from app.local.home import Home

    return Home.find(os.environ)


@app.command()
def up(
    check: Annotated[
        bool, typer.Option("--check", help="Verify a run, print one line of JSON, exit 0 or not.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start from an empty data folder.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before deleting data.")] = False,
    speed: Annotated[float | None, typer.Option(min=0, help="Bars per second; 0 is as fast as possible.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Preferred port of the API.")] = 8000,
) -> None:
    """Start the local stack and show it until Ctrl-C."""
    from app.local.stack import Options
    from app.local.up import Run
    from app.local.up import up as run

    home = _home()
    if fresh and not yes and home.root.exists():
        typer.confirm(f"Delete everything in {home.root}?", abort=True, err=True)
    raise typer.Exit(run(home, Run(Options(port=port, speed=speed), check=check, fresh=fresh)))


@app.command()
def down() -> None:
    """End a running stack; the data stays."""
    from app.local.stack import end_leftovers, end_servers, supervisor_of

    home = _home()
    running = supervisor_of(home.state())
    if running is not None:
        typer.echo(f"stopping the stack of {home.root}")
        running.stop(signal.SIGTERM, grace_s=90.0)
    if home.root.exists():
        end_leftovers(home, typer.echo)
        end_servers(home)
    typer.echo("nothing runs")


@app.command()
def status(as_json: Json = False) -> None:
    """Say what runs. Exit code 1 when nothing does."""
    from app.local.process import Running
    from app.local.stack import is_ready, supervisor_of

    home = _home()
    state = home.state() or {}
    running = supervisor_of(state) is not None
    services = state.get("services", []) if running else []
    for service in services:
        service["alive"] = service["pid"] is not None and Running.find(service["pid"]) is not None
    ready = running and is_ready(str(state["url"]))
    phase = state["phase"] if running else "stopped"
    if as_json:
        facts = {"home": str(home.root), "phase": phase, "ready": ready, "url": state.get("url"), "services": services}
        typer.echo(json.dumps(facts))
    elif running:
        _print_rows(
            f"{phase}, {'ready' if ready else 'not ready'} at {state['url']}", services, "name pid alive restarts log"
        )
    else:
        typer.echo(f"no stack runs in {home.root}")
    raise typer.Exit(0 if running else 1)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check ports, versions, database roles, clock and disk; name the remedy for what is wrong."""
    from dataclasses import asdict

    from app.local.doctor import examine

    with explained():
        findings = list(examine(_home(), os.environ))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            typer.secho(
                f"{'ok ' if finding.ok else 'BAD'}  {finding.what}: {finding.found}", fg=None if finding.ok else "red"
            )
            if finding.remedy:
                typer.echo(f"     remedy: {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


@app.command()
def mail(as_json: Json = False) -> None:
    """Show the mail that the local stack captured: links to confirm addresses, to set passwords."""
    from app.local.mail import captured_mail

    with explained():
        found = captured_mail(_home(), os.environ)
    for entry in found:
        typer.echo(json.dumps(entry) if as_json else "{at}  {to}\n{subject}\n\n{text}".format(**entry))
    if not found and not as_json:
        typer.echo("no mail was captured")


@app.command()
def migrate(revision: Annotated[str, typer.Option(help="Alembic revision.")] = "head") -> None:
    """Bring the database schema up to date (MIGRATE_DATABASE_URL, else the local stack's).

    With an administrator's DATABASE_URL set, create or update the database and its roles first.
    """
    with explained():
        import asyncio

        from app.infra.migrate import migrate as run
        from app.infra.roles import ensure_roles
        from app.local.environment import passwords_of
        from app.local.ports import StartError

        settings = _settings()
        if settings.get("DATABASE_URL"):
            passwords, database = passwords_of(settings)
            asyncio.run(ensure_roles(settings["DATABASE_URL"], passwords, database=database))
        url = settings.get("MIGRATE_DATABASE_URL")
        if not url:
            raise StartError("MIGRATE_DATABASE_URL is not set, and no stack runs here")
        run(url, revision=revision)
        typer.echo(f"the schema is at {revision}")


@app.command()
def seed() -> None:
    """Seed reference data and the demo tenant (idempotent) in the configured or the running stack's database."""
    import asyncio

    with explained():
        from app.local.demo import seed_demo

        home = _home()
        os.environ.update(_settings())
        home.create()
        home.keep_credentials(asyncio.run(seed_demo(home.credentials())))
        typer.echo("seeded")


@bars.command("import")
def import_bars(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="A .csv or .parquet file.")],
    symbol: Annotated[str, typer.Option(help="For example AAPL.")],
    venue: Annotated[str, typer.Option(help="Market identifier code, for example XNAS or XNSE.")],
    interval: Annotated[str, typer.Option(help="For example 1d or 1m.")] = "1d",
    source: Annotated[str, typer.Option(help="Where the bars come from.")] = "imported",
    license: Annotated[str, typer.Option(help="Under which terms.")] = "not stated",
) -> None:
    """Import bars of one instrument; refused whole, naming row and column, when one is wrong."""
    import asyncio

    with explained():
        from app.local.importing import import_file

        os.environ.update(_settings())
        done = asyncio.run(
            import_file(file, symbol=symbol, venue=venue, interval=interval, source=source, license=license)
        )
        state = "imported" if done.changed else "already current"
        typer.echo(
            f"{done.symbol} {done.venue} {done.interval}: {done.rows} bars, {done.first_at} to {done.last_at}, {state}"
        )


@backtests.command("run")
def run_backtest(
    program: ProgramFile,
    bars: BarFiles,
    cash: Annotated[str, typer.Option(help="Starting cash, for example 100000.")],
    charges: Charges = "zero",
    currency: Currency = "INR",
    param: Given = None,
    start: Day = None,
    end: Day = None,
    tick: Annotated[str, typer.Option(help="Price step of orders.")] = "0.01",
    lot: Annotated[int, typer.Option(min=1, help="Units of one lot.")] = 1,
    product: Annotated[Product, typer.Option(help="What charges take it for.")] = Product.DELIVERY,
    slippage_bps: Annotated[int, typer.Option(min=0, max=9999, help="Market orders pay so much.")] = 0,
    term: Term = None,
    finer: Annotated[list[Path] | None, typer.Option(exists=True, dir_okay=False, help="Finer bars.")] = None,
    report: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the report page here.")] = None,
    as_json: Json = False,
) -> None:
    """Run a program on bars: metrics, curve, fills, trades, charges. Bars before --start only warm it up."""
    with explained():
        from app.insight.backtest.service import FileRun, report_page
        from app.local import research

        result = research.run(FileRun(
            research.read_program(program), bars, cash, charges, currency, research.parse_parameters(param or []),
            tick, lot, product, slippage_bps, start and start.date(), end and end.date(),
            research.parse_terms(term or []), finer=finer or [],
        ))  # fmt: skip
        if report is not None:
            report.write_text(report_page(result), encoding="utf-8")
        show((result, research.result_table(result)), as_json)


@strategies.command("validate")
def validate_program(
    program: Annotated[Path, typer.Argument(exists=True, dir_okay=False)], param: Given = None
) -> None:
    """Check a program; print its digest, size and warm-up as JSON. A refusal names the node."""
    with explained():
        from app.local import research

        found = research.examine(research.read_program(program), research.parse_parameters(param or []))
        typer.echo(json.dumps(found))


@strategies.command("schema")
def program_schema() -> None:
    """Print the JSON schema of strategy programs."""
    from app.engine.schema import program_schema as schema

    typer.echo(json.dumps(schema(), indent=2))


@strategies.command("verify")
def verify_program(
    program: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    bars: BarFiles,
    cash: Annotated[str, typer.Option(help="Starting cash.")] = "1000000",
    charges: Charges = "zero",
    currency: Currency = "INR",
    param: Given = None,
    as_json: Json = False,
) -> None:
    """Look for look-ahead: cut the history, shuffle the future, change the block size. Exit 1 when anything differs."""
    with explained():
        from dataclasses import asdict

        from app.insight.backtest.service import FileRun
        from app.local import research

        given = research.parse_parameters(param or [])
        found = research.checks(FileRun(research.read_program(program), bars, cash, charges, currency, given))
        rows = [{**asdict(check), "passed": check.passed} for check in found]
        show((rows, research.checks_table(found)), as_json)
        if not all(check.passed for check in found):
            raise typer.Exit(1)


@app.command("charges")
def charge_trades(
    schedule: Annotated[str, typer.Option(help="For example nse_equity.")],
    trades: Annotated[typer.FileText, typer.Argument(help="A JSON list of trades; - reads standard input.")] = "-",  # type: ignore[assignment]
    currency: Currency = "INR",
    as_json: Json = False,
) -> None:
    """Charges of trades, [{"side", "quantity", "price", "on", "product"}, …]: every head of each day's note."""
    with explained():
        from app.local.charging import charge_notes
        from app.local.research import charges_table

        found = charge_notes(trades.read(), schedule, currency)
        show((found, charges_table(found)), as_json)


@app.command()
def orders(limit: Limit = 20, as_json: Json = False) -> None:
    """The demo tenant's newest orders."""
    with explained():
        from app.local import views
        from app.local.client import local_client

        show(views.orders(local_client(_home()), limit), as_json)


@app.command()
def positions(limit: Limit = 100, as_json: Json = False) -> None:
    """The demo tenant's positions."""
    with explained():
        from app.local import views
        from app.local.client import local_client

        show(views.positions(local_client(_home()), limit), as_json)


@app.command()
def performance(as_json: Json = False) -> None:
    """Return, risk and trade statistics of each of the demo tenant's deployments."""
    with explained():
        from app.local import views
        from app.local.client import local_client

        show(views.performance(local_client(_home())), as_json)


@app.command(context_settings=_PASSED_ON)
def daemon(ctx: typer.Context) -> None:
    """Run daemon roles (all by default): relay, scheduler, feed, matcher, listener, follower."""
    _become("workers", ["daemon", *ctx.args])


@app.command(context_settings=_PASSED_ON)
def bench(ctx: typer.Context) -> None:
    """Run a benchmark, for example `mandi bench orders --json`. Works from a checkout of the source."""
    _become("tests.bench", ctx.args)


def _become(module: str, arguments: list[str]) -> None:
    environ = {**os.environ, **_settings()}
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", module, *arguments], environ)


def _settings() -> dict[str, str]:
    from app.local.environment import configured

    return configured(_home(), os.environ)


def _print_rows(title: str, rows: list[dict[str, Any]], columns: str) -> None:
    from rich.console import Console

    from app.local.screen import rows_table

    Console().print(rows_table(title, rows, columns.split()))


if __name__ == "__main__":
    main()
