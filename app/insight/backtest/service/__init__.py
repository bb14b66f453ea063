"""What others call: a tenant's backtests (`admission`, `reading`, `running`), runs on files, and the report page."""

from app.insight.backtest.service.admission import create_backtest
from app.insight.backtest.service.files import FileRun, run_files, verify_files
from app.insight.backtest.service.page import report_page
from app.insight.backtest.service.reading import (
    cancel_backtest,
    get_backtest,
    list_backtests,
    read_report,
    read_result,
)
from app.insight.backtest.service.running import handlers

__all__ = [
    "FileRun",
    "cancel_backtest",
    "create_backtest",
    "get_backtest",
    "handlers",
    "list_backtests",
    "read_report",
    "read_result",
    "report_page",
    "run_files",
    "verify_files",
]
