"""The order path: `placing`, `executing` (send, cancel) with `outcomes`, `resolving` (unknown fates), `listening` and
`reconciling` (the broker's news) with `adopting`, `filling`, `matching` (the tape) with `waiting`, `modifying` with
`changes`, `reading`. `kinds` are the order types, `terms` what they take and show.

Beside it `halting` (the kill switch), `leaving` (all orders, all positions), `calendar` with `expiring` (what sessions
ask for) and `supposing` (what if).
"""

from app.trading.orders.domain import PlaceOrder
from app.trading.orders.domain.changing import ChangeOrder
from app.trading.orders.service.executing import Desk, handlers, open_desk
from app.trading.orders.service.halting import TenantOrders, halt_everything, resume_everything
from app.trading.orders.service.kinds import kinds, own_parameters
from app.trading.orders.service.leaving import Which, cancel_all, exit_all
from app.trading.orders.service.modifying import order_to_change, request_change
from app.trading.orders.service.placing import PlacedOrder, Preview, place_order, preview_order, request_cancel
from app.trading.orders.service.reading import get_order, list_fills, list_orders, order_findings
from app.trading.orders.service.supposing import MAX_ORDERS, Supposed, suppose_orders

__all__ = [
    "MAX_ORDERS",
    "ChangeOrder",
    "Desk",
    "PlaceOrder",
    "PlacedOrder",
    "Preview",
    "Supposed",
    "TenantOrders",
    "Which",
    "cancel_all",
    "exit_all",
    "get_order",
    "halt_everything",
    "handlers",
    "kinds",
    "list_fills",
    "list_orders",
    "open_desk",
    "order_findings",
    "order_to_change",
    "own_parameters",
    "place_order",
    "preview_order",
    "request_cancel",
    "request_change",
    "resume_everything",
    "suppose_orders",
]
