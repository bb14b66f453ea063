"""Seeds the reference data and the sample bars that ship with the package. Idempotent."""

import asyncio
import json
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from app.kernel.ids import uuid7
from app.market.data import repository
from app.market.instruments.service import load_instruments, seed_instruments

LIBRARY = Path(__file__).parent.parent / "library"


def load_manifest() -> list[dict[str, Any]]:
    """The sample files: symbol, venue, interval, file, sha256, rows, first, last, columns, scale, source, license."""
    series: list[dict[str, Any]] = json.loads((LIBRARY / "manifest.json").read_text(encoding="utf-8"))["series"]
    return series


async def seed_reference(reference: asyncpg.Pool, data_dir: Path) -> None:
    """Add calendar, instruments, rules, actions and sample bars that are missing; a later import is left alone.

    `reference` is a pool of the role `mandi_reference`; sample files are copied to `data_dir`/bars.
    """
    await seed_instruments(reference)
    known = load_instruments()
    for entry in load_manifest():
        instrument = known[entry["symbol"], entry["venue"]]
        current = await repository.current_series(reference, instrument["id"], entry["interval"])
        if current is not None and current["sha256"] != entry["sha256"]:
            continue
        relative = f"bars/{entry['file']}"
        await asyncio.to_thread(_place, LIBRARY / entry["file"], data_dir / relative, entry["sha256"])
        await repository.publish_series(
            reference,
            {
                "id": uuid7(),
                "instrument_id": instrument["id"],
                "interval": entry["interval"],
                "path": relative,
                "sha256": entry["sha256"],
                "rows": entry["rows"],
                "first_at": datetime.fromisoformat(entry["first"]).astimezone(UTC),
                "last_at": datetime.fromisoformat(entry["last"]).astimezone(UTC),
                "price_exp": entry["price_exp"],
                "qty_exp": entry["qty_exp"],
                "source": entry["source"],
                "license": entry["license"],
            },
        )


def _place(source: Path, target: Path, sha256: str) -> None:
    if target.exists() and repository.sha256_of(target) == sha256:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")
    shutil.copyfile(source, temporary)
    os.replace(temporary, target)
