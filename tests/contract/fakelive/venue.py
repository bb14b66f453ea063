"""A live broker that fails in every way of the book: orders by form, string ids, no idempotency, naive Indian times.

Its manners are Kite Connect v3's, its clock is the test's. A `Fault` is what one call meets; the exchange behind it
moves only when the test says so.
"""

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

IST = ZoneInfo("Asia/Kolkata")
JSON = "application/json"
ENDED = ("COMPLETE", "CANCELLED", "REJECTED")
HIDDEN_FOR = timedelta(seconds=90)


class Fault(StrEnum):
    """What befalls one call. `after`: the broker has done what was asked, and the caller does not hear of it."""

    DROP_BEFORE = "drop_before"
    DROP_AFTER = "drop_after"
    LATE = "late"
    HTML_BEFORE = "html_504_before"
    HTML_AFTER = "html_504_after"
    TIMED_OUT_BEFORE = "400_timed_out_before"
    TIMED_OUT_AFTER = "400_timed_out_after"
    HIDE = "hidden_for_90_s"
    BUSY = "429"
    NO_SESSION = "403"
    REFUSE = "400"
    REJECT_LATER = "rejected_after_acceptance"
    FILL_FIRST = "filled_before_the_cancel"
    SLOW_CANCEL = "cancel_stays_pending"


BEFORE = (Fault.DROP_BEFORE, Fault.HTML_BEFORE, Fault.TIMED_OUT_BEFORE)
AFTER = (Fault.DROP_AFTER, Fault.LATE, Fault.HTML_AFTER, Fault.TIMED_OUT_AFTER, Fault.HIDE)
SURE_NO = (Fault.BUSY, Fault.NO_SESSION, Fault.REFUSE)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes over the wire. `drop`: nothing does, the connection ends; `late`: not before the caller has left."""

    status: int = 200
    body: str = ""
    content_type: str = JSON
    drop: bool = False
    late: bool = False


@dataclass(slots=True)
class VenueOrder:
    """One order at the broker."""

    order_id: str
    account: str
    form: dict[str, str]
    status: str
    at: datetime
    hidden_until: datetime
    message: str | None = None
    triggered: bool = False
    trades: list[dict[str, Any]] = field(default_factory=list)

    @property
    def quantity(self) -> int:
        return int(self.form["quantity"])

    @property
    def filled(self) -> int:
        return sum(trade["quantity"] for trade in self.trades)

    def shown(self) -> dict[str, Any]:
        traded = sum(trade["quantity"] * trade["average_price"] for trade in self.trades)
        tag = self.form.get("tag")
        return {
            "order_id": self.order_id,
            "status": self.status,
            "status_message": self.message,
            "order_timestamp": _naive(self.at),
            "exchange": self.form["exchange"],
            "tradingsymbol": self.form["tradingsymbol"],
            "transaction_type": self.form["transaction_type"],
            "order_type": self.form["order_type"],
            "validity": self.form.get("validity", "DAY"),
            "quantity": self.quantity,
            "price": float(self.form.get("price", "0")),
            "trigger_price": float(self.form.get("trigger_price", "0")),
            "filled_quantity": self.filled,
            "pending_quantity": self.quantity - self.filled,
            "average_price": traded / self.filled if self.filled else 0,
            "tag": tag,
            "tags": [tag] if tag else [],
        }


def _naive(at: datetime) -> str:
    return at.astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")


def _ok(data: Any) -> Reply:
    return Reply(body=json.dumps({"status": "success", "data": data}))


def _no(status: int, kind: str, message: str) -> Reply:
    return Reply(status, json.dumps({"status": "error", "message": message, "error_type": kind, "data": None}))


_HTML = "<html><head><title>504 Gateway Time-out</title></head><body>nginx</body></html>"
_ANSWERS = {
    Fault.DROP_BEFORE: Reply(drop=True),
    Fault.DROP_AFTER: Reply(drop=True),
    Fault.HIDE: Reply(drop=True),
    Fault.LATE: Reply(late=True),
    Fault.HTML_BEFORE: Reply(504, _HTML, "text/html"),
    Fault.HTML_AFTER: Reply(504, _HTML, "text/html"),
    Fault.TIMED_OUT_BEFORE: _no(400, "OrderException", "Order request timed out. Please check the order book."),
    Fault.TIMED_OUT_AFTER: _no(400, "OrderException", "Order request timed out. Please check the order book."),
    Fault.BUSY: _no(429, "NetworkException", "Too many requests"),
    Fault.NO_SESSION: _no(403, "TokenException", "Incorrect `api_key` or `access_token`."),
    Fault.REFUSE: _no(400, "MarginException", "Insufficient funds."),
}


@dataclass(slots=True)
class FakeVenue:
    """The broker. `faults` are met by calls of that kind (`place`, `modify`, `cancel`, `read`), one each, in order."""

    clock: Callable[[], datetime]
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    tokens: dict[str, str] = field(default_factory=dict)
    """Access token → account."""

    listeners: list[Callable[[str, dict[str, Any]], None]] = field(default_factory=list)
    met: list[Fault] = field(default_factory=list)
    silent: bool = False
    """No pushes are sent."""

    _ids: Iterator[int] = field(default_factory=lambda: iter(range(151220000000000, 10**18)))

    def fail(self, kind: str, *faults: Fault) -> None:
        self.faults[kind].extend(faults)

    def handle(self, method: str, path: str, token: str | None, body: str) -> Reply:
        """One request. `token` is what follows the key in the header `Authorization`."""
        account = self.tokens.get(token or "")
        if account is None:
            return _ANSWERS[Fault.NO_SESSION]
        kind = {"POST": "place", "PUT": "modify", "DELETE": "cancel"}.get(method, "read")
        fault = self.faults[kind].popleft() if self.faults[kind] else None
        if fault is not None:
            self.met.append(fault)
        if fault in BEFORE or fault in SURE_NO:
            return _ANSWERS[fault]
        form = {name: values[0] for name, values in parse_qs(body).items()}
        reply = self._act(method, path.strip("/").split("/"), account, form, fault)
        return _ANSWERS.get(fault, reply) if fault is not None else reply

    def _act(self, method: str, path: list[str], account: str, form: dict[str, str], fault: Fault | None) -> Reply:
        match method, path:
            case "POST", ["orders", _]:
                return self._place(account, form, fault)
            case "PUT", ["orders", _, order_id]:
                return self._modify(account, order_id, form)
            case "DELETE", ["orders", _, order_id]:
                return self._cancel(account, order_id, fault)
            case "GET", ["orders"]:
                return _ok([order.shown() for order in self.visible(account)])
            case "GET", ["trades"]:
                return _ok([trade for order in self.visible(account) for trade in order.trades])
            case "GET", ["orders", order_id]:
                found = self._visible_one(account, order_id)
                return _ok([found.shown()]) if found else _unseen()
            case "GET", ["orders", order_id, "trades"]:
                found = self._visible_one(account, order_id)
                return _ok(found.trades) if found else _unseen()
            case "GET", ["portfolio", "positions"]:
                return _ok({"net": [], "day": self._positions(account)})
        return _no(404, "GeneralException", "Route not found")

    def visible(self, account: str) -> list[VenueOrder]:
        """What its order book shows now."""
        now = self.clock()
        return [one for one in self.orders.values() if one.account == account and one.hidden_until <= now]

    def _visible_one(self, account: str, order_id: str) -> VenueOrder | None:
        return next((one for one in self.visible(account) if one.order_id == order_id), None)

    def _place(self, account: str, form: dict[str, str], fault: Fault | None) -> Reply:
        now = self.clock()
        tag = form.get("tag", "")
        if len(tag) > 20 or not (tag.isalnum() or tag == ""):
            return _no(400, "InputException", "Invalid `tag`.")
        if wrong := _wrong(form):
            return _no(400, "InputException", wrong)
        hidden = now + HIDDEN_FOR if fault is Fault.HIDE else now
        order = VenueOrder(str(next(self._ids)), account, form, "PUT ORDER REQ RECEIVED", now, hidden)
        self.orders[order.order_id] = order
        self._tell(order)
        if fault is Fault.REJECT_LATER:
            self.reject(order.order_id, "RMS:Margin exceeds")
        return _ok({"order_id": order.order_id})

    def _modify(self, account: str, order_id: str, form: dict[str, str]) -> Reply:
        order = self._visible_one(account, order_id)
        if order is None or order.status in ENDED:
            return _no(400, "OrderException", "Order cannot be modified as it is not open.")
        changed = {name: form[name] for name in _MODIFIABLE if name in form}
        if wrong := _wrong(order.form | changed):
            return _no(400, "InputException", wrong)
        order.form |= changed
        self._change(order, self._resting(order))
        return _ok({"order_id": order_id})

    def _cancel(self, account: str, order_id: str, fault: Fault | None) -> Reply:
        order = self._visible_one(account, order_id)
        if order is not None and fault is Fault.FILL_FIRST and order.status not in ENDED:
            self.fill(order_id, order.quantity - order.filled, "20.00")
        if order is None or order.status in ENDED:
            return _no(400, "OrderException", "Order cannot be cancelled as it is being processed.")
        self._change(order, "CANCEL PENDING" if fault is Fault.SLOW_CANCEL else "CANCELLED")
        return _ok({"order_id": order_id})

    def _positions(self, account: str) -> list[dict[str, Any]]:
        net: defaultdict[str, int] = defaultdict(int)
        for order in self.orders.values():
            if order.account == account:
                sign = 1 if order.form["transaction_type"] == "BUY" else -1
                net[order.form["tradingsymbol"]] += sign * order.filled
        return [{"tradingsymbol": symbol, "quantity": quantity} for symbol, quantity in net.items()]

    def open(self, order_id: str) -> None:
        """The exchange has it."""
        if self.orders[order_id].status not in ENDED:
            self._change(self.orders[order_id], self._resting(self.orders[order_id]))

    def _resting(self, order: VenueOrder) -> str:
        return "TRIGGER PENDING" if "trigger_price" in order.form and not order.triggered else "OPEN"

    def trigger(self, order_id: str) -> None:
        """The market touches a stop's trigger."""
        self.orders[order_id].triggered = True
        self.open(order_id)

    def fill(self, order_id: str, quantity: int, price: str) -> None:
        """The exchange executes a part, or all, of a working order."""
        order = self.orders[order_id]
        assert order.status not in ENDED and quantity <= order.quantity - order.filled
        order.triggered = True
        order.trades.append(
            {
                "trade_id": f"{order_id[-6:]}{len(order.trades) + 1:04d}",
                "order_id": order_id,
                "tradingsymbol": order.form["tradingsymbol"],
                "quantity": quantity,
                "average_price": float(price),
                "fill_timestamp": _naive(self.clock()),
            }
        )
        self._change(order, "COMPLETE" if order.filled == order.quantity else "OPEN")

    def reject(self, order_id: str, message: str) -> None:
        self.orders[order_id].message = message
        self._change(self.orders[order_id], "REJECTED")

    def end(self, order_id: str) -> None:
        """The exchange ends what is left: a slow cancel is done, or a day order lapses."""
        if self.orders[order_id].status not in ENDED:
            self._change(self.orders[order_id], "CANCELLED")

    def place_by_hand(self, account: str, symbol: str, quantity: int) -> str:
        """Somebody else trades in the account."""
        form = {"tradingsymbol": symbol, "exchange": "NSE", "transaction_type": "BUY", "order_type": "MARKET"}
        reply = self._place(account, form | {"quantity": str(quantity)}, None)
        return str(json.loads(reply.body)["data"]["order_id"])

    def tagged(self, tag: str) -> list[VenueOrder]:
        return [order for order in self.orders.values() if order.form.get("tag") == tag]

    def _change(self, order: VenueOrder, status: str) -> None:
        order.status, order.at = status, self.clock()
        self._tell(order)

    def _tell(self, order: VenueOrder) -> None:
        if not self.silent:
            for listener in self.listeners:
                listener(order.account, {"type": "order", "data": order.shown()})


_MODIFIABLE = ("quantity", "price", "trigger_price", "validity")
_NEEDS = {"MARKET": (), "LIMIT": ("price",), "SL": ("price", "trigger_price"), "SL-M": ("trigger_price",)}


def _wrong(form: dict[str, str]) -> str | None:
    """What Kite refuses of a form; nothing of one that was placed by hand."""
    if "tag" not in form:
        return None
    needs = _NEEDS.get(form["order_type"])
    if needs is None:
        return "Invalid `order_type`."
    missing = [name for name in needs if name not in form]
    if missing:
        return f"Missing `{missing[0]}`."
    if form["order_type"] in ("MARKET", "SL-M") and float(form.get("market_protection", "0")) == 0:
        return "Market orders without market protection are not allowed via API."
    if (form.get("validity") == "TTL") != ("validity_ttl" in form):
        return "Invalid `validity_ttl`."
    return None


def _unseen() -> Reply:
    return _no(404, "GeneralException", "Couldn't find that `order_id`.")
