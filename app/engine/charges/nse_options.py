"""Indian equity options on NSE with Zerodha's brokerage, in paise. From 1 June 2013. The notional is the premium.

The exchange charge was by slabs of the member's turnover until October 2024: the first slab is taken. The buyer pays
tax on an exercised option's intrinsic value since September 2019; before, it was on the whole settlement value, which
no schedule can see: a backtest that lets an option of that time expire with a worth is refused.
"""

from datetime import date

from app.engine.charges._india import (
    COMMON_SOURCES,
    CRORE,
    PERCENT,
    Steps,
    flat_brokerage,
    heads,
    levies,
    option_tax,
)
from app.engine.schedule import Schedule

SINCE = date(2013, 6, 1)
EXCHANGE: Steps = (  # transaction charge and IPFT
    (date(2013, 6, 1), 500_001),  # 5,000 + 0.01
    (date(2021, 1, 1), 530_001),  # 5,300 + 0.01
    (date(2023, 4, 1), 5_050 * CRORE),  # 5,000 + 50
    (date(2024, 4, 1), 5_000 * CRORE),  # 4,950 + 50; the day from memory
    (date(2024, 10, 1), 3_553 * CRORE),  # 3,503 + 50; since March 2026 3,552 + 1
)

PLUGIN = Schedule(
    name="nse_options",
    title="NSE options, Zerodha's brokerage",
    currency="INR",
    heads=heads("stt"),
    rates=(
        *flat_brokerage(SINCE),
        *option_tax(SINCE),
        *levies(exchange=EXCHANGE, stamp=3 * PERCENT // 1_000, start=SINCE),
    ),
    sources=(
        "NSE/FA/73061 (1 March 2026): transaction charges and IPFT; notices of September 2024: 35.03 a lakh",
        "NSE's release of 24 March 2023; Zerodha's charge lists of 2020 (0.05 %), 2021 (0.053 %), early 2024 (0.05 %)",
        "0.0495 % before October 2024 by Zerodha's founder, its first day from memory; 0.05 % before 2020 from memory",
        "Finance Acts 2008 (0.017 %), 2016, 2023, 2024 (No. 2) and 2026 (NSE FATAX73524): tax on the sale of an option",
        "Exercised options: Finance Act 2019 (on intrinsic value, from 1 September 2019) and 2026 (0.15 %)",
        *COMMON_SOURCES,
    ),
)
