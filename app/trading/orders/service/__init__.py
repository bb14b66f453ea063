"""The order path: `placing`, `executing` (send, cancel) with `outcomes`, `resolving` (unknown fates), `listening` and
`reconciling` (the broker's news) with `adopting`, `filling`, `matching` (the tape), `reading`."""

from app.trading.orders.domain import PlaceOrder
from app.trading.orders.service.executing import Desk, handlers, open_desk
from app.trading.orders.service.placing import PlacedOrder, Preview, place_order, preview_order, request_cancel
from app.trading.orders.service.reading import get_order, list_fills, list_orders, order_findings

__all__ = [
    "Desk",
    "PlaceOrder",
    "PlacedOrder",
    "Preview",
    "get_order",
    "handlers",
    "list_fills",
    "list_orders",
    "open_desk",
    "order_findings",
    "place_order",
    "preview_order",
    "request_cancel",
]
