"""The sample reference data, in a database that many tests share."""

from app.infra.database import Database
from app.infra.settings import Settings
from app.market.data.service import seed_reference

_seeded: set[str] = set()


async def seeded(database: Database, settings: Settings) -> None:
    """Calendar, instruments and bars are there. To seed again finds nothing to do, and takes half a second."""
    url = settings.reference_database_url.get_secret_value()
    if url not in _seeded:
        await seed_reference(database.reference, settings.data_dir)
        _seeded.add(url)
