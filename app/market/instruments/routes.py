"""`/v1/instruments`: reference data, the same for every tenant."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query

from app.kernel.ids import decode_id
from app.market.instruments import schemas
from app.market.instruments.ports import Reader
from app.market.instruments.service import get_instrument, list_instruments
from app.web.routing import ApiRouter


def instrument_routes(open_reader: Callable[..., Any], clock: Callable[[], datetime]) -> ApiRouter:
    """The routes. `open_reader` is the dependency that authenticates and yields a `Reader` (a `Tx` is one)."""
    router = ApiRouter(prefix="/v1/instruments", tags=["Market data"])

    @router.get("", summary="List instruments")
    async def list_all(
        query: Annotated[schemas.InstrumentQuery, Query()],
        reader: Annotated[Reader, Depends(open_reader, scope="function")],
    ) -> schemas.InstrumentList:
        """Instruments by id, with the trading rules in force now."""
        after = query.starting_after
        found = await list_instruments(
            reader,
            now=clock(),
            symbol=query.symbol,
            venue=query.venue,
            after=decode_id(schemas.PREFIX, after, param="starting_after") if after else None,
            limit=query.limit + 1,
        )
        page = [schemas.InstrumentOut.of(view) for view in found[: query.limit]]
        return schemas.InstrumentList(data=page, has_more=len(found) > query.limit)

    @router.get("/{instrument_id}", summary="Retrieve an instrument")
    async def retrieve(
        instrument_id: str, reader: Annotated[Reader, Depends(open_reader, scope="function")]
    ) -> schemas.InstrumentOut:
        """One instrument, with the trading rules in force now."""
        wanted = decode_id(schemas.PREFIX, instrument_id)
        return schemas.InstrumentOut.of(await get_instrument(reader, wanted, now=clock()))

    return router
