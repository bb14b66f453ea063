"""`python -m workers worker [--queues a,b]` and `python -m workers daemon [--roles a,b]`. Exits 78 on bad settings."""

import argparse
import os
import sys

from app.engine import cache_directory
from app.infra.settings import Settings, SettingsError, load_settings
from app.infra.telemetry import setup_telemetry

EX_CONFIG = 78


def main() -> int:
    arguments = _parse()
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201  # there is no logging without settings
        return EX_CONFIG
    _prepare(arguments.process, settings)
    if arguments.process == "worker":
        from workers.main import run_worker

        return run_worker(settings, queues=arguments.queues)
    from workers.daemon import run

    return run(settings, roles=arguments.roles)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description="A worker or the daemon of Mandi.")
    processes = parser.add_subparsers(dest="process", required=True)
    worker = processes.add_parser("worker", help="run rows of work")
    worker.add_argument("--queues", type=_names, default=None, help="comma-separated; all by default")
    daemon = processes.add_parser("daemon", help="run long-running roles")
    daemon.add_argument("--roles", type=_names, default=None, help="comma-separated; all by default")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _prepare(service: str, settings: Settings) -> None:
    """Logs first; then the folder of compiled kernels."""
    setup_telemetry(
        service,
        endpoint=settings.otel_endpoint,
        log_level=settings.log_level,
        environment=settings.environment,
    )
    if "NUMBA_CACHE_DIR" not in os.environ:
        cache_directory(settings.data_dir / "kernels")


if __name__ == "__main__":
    sys.exit(main())
