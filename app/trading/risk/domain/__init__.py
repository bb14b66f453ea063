"""What risk decides: `rule` (what a rule sees and says), `limits` (levels), `halts` (the kill switch), `events`."""

from app.trading.risk.domain.events import EVENTS
from app.trading.risk.domain.halts import Halt, HaltMode, Target, check_algo_id
from app.trading.risk.domain.limits import AppliedLimit, Sets, Tighter, applied, loosened, same, tightest
from app.trading.risk.domain.rule import Exposure, Finding, Limits, Rule, evaluate, finding, share_bps

__all__ = [
    "EVENTS",
    "AppliedLimit",
    "Exposure",
    "Finding",
    "Halt",
    "HaltMode",
    "Limits",
    "Rule",
    "Sets",
    "Target",
    "Tighter",
    "applied",
    "check_algo_id",
    "evaluate",
    "finding",
    "loosened",
    "same",
    "share_bps",
    "tightest",
]
