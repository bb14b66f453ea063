"""Decides the terms on which a simulated account trades: what a venue and a broker would set, not the strategy."""

from dataclasses import dataclass

from app.engine.bars import Int64
from app.engine.columns import Intrabar, Setting
from app.engine.layout import BPS
from app.kernel.errors import invalid


@dataclass(frozen=True, slots=True)
class Terms:
    """`intrabar`: in which order a bar's prices come (`app.engine.kernels.execution`). `participation_bps`: the share
    of a bar's volume that may fill, None for all that is asked. `margin_bps`: equity needed to open, as a share of the
    positions' value (10,000: no leverage). `maintenance_bps`: below this share every position is closed at the next
    open; it matters to shorts and leverage only. `borrow_bps`: yearly cost of borrowed shares and cash, actual days of
    365. `future_margin_bps`: equity needed to hold a future, as a share of its value; `short_option_margin_bps`: to be
    short of an option, as a share of its strike's value, beside what the option is worth. `contract_call_bps`: below
    this share of the contracts' margin every position is closed at the next open. `interest_bps`: yearly interest on
    cash that is no proceeds of shares sold short, simple, actual days of 365, paid at each new trading date, rounded
    down. All in hundredths of a percent.

    An exchange's margin (SPAN and exposure) is of portfolios and changes by the day; these shares stand for it.
    """

    intrabar: Intrabar = Intrabar.PESSIMISTIC
    participation_bps: int | None = None
    margin_bps: int = BPS
    maintenance_bps: int = 2_500
    borrow_bps: int = 0
    future_margin_bps: int = 2_000
    short_option_margin_bps: int = 2_000
    contract_call_bps: int = 8_000
    interest_bps: int = 0

    def __post_init__(self) -> None:
        bounds = {"participation_bps": (1, BPS), "margin_bps": (100, BPS), "maintenance_bps": (0, BPS)}
        bounds |= {"borrow_bps": (0, 10 * BPS), "interest_bps": (0, 10 * BPS)}
        bounds |= {"future_margin_bps": (100, BPS), "short_option_margin_bps": (100, BPS)}
        bounds["contract_call_bps"] = (0, BPS)
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise invalid("invalid_terms", f"{name} must be from {least} to {most}.", param=name)

    def apply(self, settings: Int64) -> None:
        """Into a run's settings."""
        settings[Setting.INTRABAR] = self.intrabar
        settings[Setting.PARTICIPATION_BPS] = self.participation_bps or 0
        settings[Setting.MARGIN_BPS], settings[Setting.MAINTENANCE_BPS] = self.margin_bps, self.maintenance_bps
        settings[Setting.BORROW_BPS], settings[Setting.INTEREST_BPS] = self.borrow_bps, self.interest_bps
        settings[Setting.FUTURE_MARGIN_BPS] = self.future_margin_bps
        settings[Setting.OPTION_MARGIN_BPS] = self.short_option_margin_bps
        settings[Setting.CALL_BPS] = self.contract_call_bps

    def assumptions(self) -> dict[str, str]:
        """In words."""
        share = "not limited" if self.participation_bps is None else f"{self.participation_bps} bps of each bar fill"
        order = {
            Intrabar.PESSIMISTIC: "pessimistic: stops before targets, and what is not certain counts against the order",
            Intrabar.PATH: "path: open, the extreme against the bar's direction, the other one, close",
            Intrabar.LOWER: "lower: finer bars in turn, each pessimistic",
        }
        found = {
            "intrabar": order[self.intrabar],
            "volume": share,
            "margin": f"{self.margin_bps} bps to open, {self.maintenance_bps} bps to keep, borrowing {self.borrow_bps}"
            " bps a year",
        }
        if self.interest_bps:
            found["interest"] = f"cash earns {self.interest_bps} bps a year, simple, by the day, rounded down"
        return found

    def contract_assumptions(self) -> dict[str, str]:
        """In words, where a run holds futures or options."""
        return {
            "contracts": f"a future ties up {self.future_margin_bps} bps of its value, a short option"
            f" {self.short_option_margin_bps} bps of its strike's; all is closed below {self.contract_call_bps} bps of"
            " that; not the exchange's own margin",
            "expiry": "settled in cash at the given price or the bar's close, also what is delivered in reality;"
            " charged is the tax on exercised options, where the schedule has it, and nothing else",
        }


CASH_ACCOUNT = Terms()
