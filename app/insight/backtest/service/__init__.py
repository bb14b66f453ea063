"""What others call: a tenant's backtests (`admission`, `reading`, `running`), runs on files, and the report page.

Searches share what one run is made of: `plan_backtest`, `prepare_plan`, `prepare_files`, `patiently`, `line_chart`,
`STYLE`.
"""

from app.insight.backtest.service.admission import Planned, admit_backtest, create_backtest, plan_backtest
from app.insight.backtest.service.charts import line_chart
from app.insight.backtest.service.files import FileRun, prepare_files, run_files, verify_files
from app.insight.backtest.service.page import STYLE, report_page
from app.insight.backtest.service.prepared import Prepared, trading_day
from app.insight.backtest.service.reading import (
    ResultBytes,
    cancel_backtest,
    get_backtest,
    list_backtests,
    read_report,
    read_result,
)
from app.insight.backtest.service.running import handlers, patiently
from app.insight.backtest.service.stored import prepare as prepare_plan

__all__ = [
    "STYLE",
    "FileRun",
    "Planned",
    "Prepared",
    "ResultBytes",
    "admit_backtest",
    "cancel_backtest",
    "create_backtest",
    "get_backtest",
    "handlers",
    "line_chart",
    "list_backtests",
    "patiently",
    "plan_backtest",
    "prepare_files",
    "prepare_plan",
    "read_report",
    "read_result",
    "report_page",
    "run_files",
    "trading_day",
    "verify_files",
]
