"""Strategies: define and deploy them (`definitions`), run what is due (`running`) on shared signals (`signals`)."""

from app.trading.strategies.service.definitions import (
    create_strategy,
    deploy,
    get_deployment,
    get_strategy,
    list_deployments,
    list_strategies,
    set_status,
    templates,
)
from app.trading.strategies.service.running import due_shards, run_due

__all__ = [
    "create_strategy",
    "deploy",
    "due_shards",
    "get_deployment",
    "get_strategy",
    "list_deployments",
    "list_strategies",
    "run_due",
    "set_status",
    "templates",
]
