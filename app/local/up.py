"""Decides how a run of the stack goes: bring it up, then show it until Ctrl-C, or check it and end."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from rich.console import Console
from rich.live import Live
from rich.markup import escape

from app.local.figures import Summary, broken_invariants, failures, report
from app.local.home import Home
from app.local.ports import Say, StartError
from app.local.screen import addresses, picture, progress_console
from app.local.stack import Options, Stack, clear, describe
from app.local.summary import SummaryReader
from app.local.supervisor import GaveUpError

CHECK_S = 180.0
_SETTLE_S = 20.0


@dataclass(frozen=True, slots=True)
class Run:
    """What the user asked of `mandi up`."""

    options: Options
    check: bool = False
    fresh: bool = False
    wait_s: float = CHECK_S
    make: Callable[[Home, Options, Say], Stack] = Stack


def up(home: Home, run: Run) -> int:
    """Run the stack. Returns the exit code: 0 after Ctrl-C or a passed check, 1 otherwise."""
    console = progress_console(to_stderr=run.check)
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {escape(text)}")

    try:
        home.create()
        with home.lock():
            if run.fresh:
                clear(home, say)
            stack = run.make(home, run.options, say)
            with stack.supervisor.signals():
                try:
                    return _run(stack, run, console)
                finally:
                    stack.take_down()
                    say("stopped; the data stays in " + str(home.root))
    except (StartError, GaveUpError) as error:
        console.print(f"[bold red]mandi up failed:[/bold red] {escape(str(error))}")
        if run.check:
            print(json.dumps({"ok": False, "failures": [str(error)]}))
        return 1
    except KeyboardInterrupt:
        return 130


def _run(stack: Stack, run: Run, console: Console) -> int:
    stack.bring_up()
    assert stack.credentials is not None
    reader = SummaryReader(stack.settings["APP_DATABASE_URL"], UUID(stack.credentials.tenant_id))
    try:
        return _check(stack, reader, run.wait_s) if run.check else _show(stack, reader, console)
    finally:
        reader.close()


def _show(stack: Stack, reader: SummaryReader, console: Console) -> int:
    """The live summary until a stop is asked for; plain lines where stdout is no terminal."""
    last = reader.read() or Summary()

    def draw() -> object:
        services = [describe(service, restarts) for service, restarts in stack.supervisor.services()]
        return picture(last, services)

    console.print(addresses(stack.url, stack.credentials))
    if not console.is_terminal:
        console.print(draw())
        while not stack.supervisor.watch(10.0):
            last = reader.read() or last
            console.print(_line(last))
        return 0
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while not stack.supervisor.watch(1.0):
            last = reader.read() or last
            live.update(draw(), refresh=True)  # type: ignore[arg-type]
    return 0


def _line(summary: Summary) -> str:
    at = "-" if summary.market_at is None else summary.market_at.date().isoformat()
    orders, fills = (sum(getattr(s, name) for s in summary.strategies) for name in ("orders", "fills"))
    books = "ledger ok" if not broken_invariants(summary) else "LEDGER BROKEN"
    return f"{at}  {summary.bars} bars, {orders} orders, {fills} fills, {books}"


def _check(stack: Stack, reader: SummaryReader, wait_s: float) -> int:
    """Wait for fills, then for a moment in which nothing is under way; print the verdict."""
    seconds = {"ready": time.monotonic() - stack.began}
    looked = reader.read() or Summary()
    deadline = time.monotonic() + wait_s
    while not (looked.trading or looked.stalled or broken_invariants(looked)) and time.monotonic() < deadline:
        if stack.supervisor.watch(0.1):
            return 130
        looked = reader.read() or looked
        if "first_fill" not in seconds and any(strategy.fills for strategy in looked.strategies):
            seconds["first_fill"] = time.monotonic() - stack.began
    seconds["all_filled"] = time.monotonic() - stack.began
    # orders move while bars replay: look until one snapshot finds them at rest
    deadline = time.monotonic() + _SETTLE_S
    while looked.trading and not looked.settled and time.monotonic() < deadline and not broken_invariants(looked):
        if stack.supervisor.watch(0.02):
            return 130
        looked = reader.read() or looked
    failed = failures(looked, waited_s=min(wait_s, seconds["all_filled"] - seconds["ready"]))
    sys.stdout.write(json.dumps(report(looked, failed, seconds=seconds)) + "\n")
    sys.stdout.flush()
    return 1 if failed else 0
