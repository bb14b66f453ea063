"""Strategies: define and deploy them (`definitions`), run what is due (`running`) on shared signals (`signals`)."""

from app.trading.strategies.service.definitions import (
    TenantDeployments,
    build_program,
    create_strategy,
    deploy,
    get_deployment,
    get_strategy,
    held_deployment,
    is_intraday,
    list_deployments,
    list_strategies,
    program_document,
    set_status,
    templates,
)
from app.trading.strategies.service.running import due_shards, run_due

__all__ = [
    "TenantDeployments",
    "build_program",
    "create_strategy",
    "deploy",
    "due_shards",
    "get_deployment",
    "get_strategy",
    "held_deployment",
    "is_intraday",
    "list_deployments",
    "list_strategies",
    "program_document",
    "run_due",
    "set_status",
    "templates",
]
