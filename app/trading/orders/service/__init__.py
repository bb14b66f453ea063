"""The order path: `placing`, `executing` (send, cancel), `filling`, `leaving` (all at once),
`matching` (the tape), `reading`."""

from app.trading.orders.domain import PlaceOrder
from app.trading.orders.service.executing import handlers
from app.trading.orders.service.leaving import Which, cancel_all, exit_all
from app.trading.orders.service.placing import PlacedOrder, Preview, place_order, preview_order, request_cancel
from app.trading.orders.service.reading import get_order, list_fills, list_orders, order_findings

__all__ = [
    "PlaceOrder",
    "PlacedOrder",
    "Preview",
    "Which",
    "cancel_all",
    "exit_all",
    "get_order",
    "handlers",
    "list_fills",
    "list_orders",
    "order_findings",
    "place_order",
    "preview_order",
    "request_cancel",
]
