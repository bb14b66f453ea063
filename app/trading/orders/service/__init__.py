"""The order path: `placing`, `executing` (send, cancel), `filling`, `matching` (the tape), `reading`."""

from app.trading.orders.domain import PlaceOrder
from app.trading.orders.service.executing import handlers
from app.trading.orders.service.placing import PlacedOrder, Preview, place_order, preview_order, request_cancel
from app.trading.orders.service.reading import get_order, list_fills, list_orders, order_findings

__all__ = [
    "PlaceOrder",
    "PlacedOrder",
    "Preview",
    "get_order",
    "handlers",
    "list_fills",
    "list_orders",
    "order_findings",
    "place_order",
    "preview_order",
    "request_cancel",
]
