"""What others call: run a program on files of bars, test it for look-ahead, and write the report page."""

from app.insight.backtest.service.files import FileRun, run_files, verify_files
from app.insight.backtest.service.page import report_page

__all__ = ["FileRun", "report_page", "run_files", "verify_files"]
