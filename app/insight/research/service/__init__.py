"""What others call: a tenant's sweeps (`admission`, `reading`, `running`), sweeps and walk-forwards on files, pages."""

from app.insight.research.domain import METRICS, Cut, Space, parse_axis
from app.insight.research.service.admission import AskedSweep, create_sweep
from app.insight.research.service.files import FileSweep, sweep_files, walk_files
from app.insight.research.service.page import sweep_page, walk_page
from app.insight.research.service.reading import (
    Seen,
    cancel_sweep,
    get_sweep,
    list_sweeps,
    read_report,
    read_result,
)
from app.insight.research.service.running import handlers

__all__ = [
    "METRICS",
    "AskedSweep",
    "Cut",
    "FileSweep",
    "Seen",
    "Space",
    "cancel_sweep",
    "create_sweep",
    "get_sweep",
    "handlers",
    "list_sweeps",
    "parse_axis",
    "read_report",
    "read_result",
    "sweep_files",
    "sweep_page",
    "walk_files",
    "walk_page",
]
