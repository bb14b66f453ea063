"""Terms of plans, for tests that need one of their own."""

from typing import Any

from app.kernel.costs import CostClass
from app.platform.plans.domain import FEATURES, QuotaName

_RATE = {"quota": 100_000, "window_s": 60, "per_credential": 100_000}
TERMS: dict[str, Any] = {
    "title": "Test",
    "rank": 9,
    "grace_days": 7,
    "features": sorted(FEATURES),
    "limits": {name.value: None for name in QuotaName},
    "rates": {name.value: _RATE for name in CostClass},
    "add_ons": {},
}
"""A plan without limits by number."""
