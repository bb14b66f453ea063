"""`/v1/bars`: stored bars, the same for every tenant."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Query

from app.kernel.ids import decode_id
from app.market.data import schemas
from app.market.data.service import list_bars
from app.market.instruments.ports import Reader
from app.web.routing import ApiRouter

_INSTRUMENT = "ins"


def bar_routes(open_reader: Callable[..., Any], clock: Callable[[], datetime], data_dir: Path) -> ApiRouter:
    """The routes. `open_reader` is the dependency that authenticates and yields a `Reader` (a `Tx` is one)."""
    router = ApiRouter(prefix="/v1/bars", tags=["Market data"])

    @router.get("", summary="List bars")
    async def list_all(
        query: Annotated[schemas.BarQuery, Query()],
        reader: Annotated[Reader, Depends(open_reader, scope="function")],
    ) -> schemas.BarList:
        """Bars that closed from `start` to `end`, oldest first; raw unless asked for otherwise."""
        page = await list_bars(
            reader,
            data_dir,
            instrument_id=decode_id(_INSTRUMENT, query.instrument_id, param="instrument_id"),
            interval=query.interval,
            start=query.start,
            end=query.end,
            adjustment=query.adjustment,
            after=query.starting_after,
            limit=query.limit,
            now=clock(),
        )
        return schemas.BarList(data=schemas.bars_out(page.bars), has_more=page.has_more)

    return router
