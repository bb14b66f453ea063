"""What the rest of the system may ask of webhooks."""

from app.platform.notifications.repository import OUTDATED
from app.platform.notifications.service.delivering import WEBHOOKS, handlers
from app.platform.notifications.service.endpoints import (
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    get_endpoint,
    held_endpoint,
    list_deliveries,
    list_endpoints,
    redeliver,
    rotate_secret,
    send_test,
)
from app.platform.notifications.service.following import run_webhooks

__all__ = [
    "OUTDATED",
    "WEBHOOKS",
    "change_endpoint",
    "create_endpoint",
    "delete_endpoint",
    "get_endpoint",
    "handlers",
    "held_endpoint",
    "list_deliveries",
    "list_endpoints",
    "redeliver",
    "rotate_secret",
    "run_webhooks",
    "send_test",
]
