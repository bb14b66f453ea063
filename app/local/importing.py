"""Decides how the command line reaches the reference data: with the configured reference role, one connection."""

from datetime import UTC, datetime
from pathlib import Path

from app.infra.database import open_pool
from app.infra.settings import load_settings
from app.market.data.service import ImportReport, import_bars, seed_reference


async def import_file(file: Path, *, symbol: str, venue: str, interval: str, source: str, license: str) -> ImportReport:
    """Import one file of bars into the configured database. Raises what `import_bars` raises, and `SettingsError`."""
    settings = load_settings()
    pool = await open_pool(settings.reference_database_url.get_secret_value(), size=2)
    try:
        await seed_reference(pool, settings.data_dir)
        return await import_bars(
            pool, settings.data_dir, file, symbol=symbol, venue=venue, interval=interval,
            now=datetime.now(UTC), source=source, license=license,
        )  # fmt: skip
    finally:
        await pool.close()
