"""Decides how plug-ins are found: every module of a folder that defines `PLUGIN`. One file per addition."""

import importlib
import pkgutil
from typing import Any


def discover(package: str) -> dict[str, Any]:
    """`{name: PLUGIN}` for each module of `package`, keyed by `PLUGIN.name`, in name order.

    Raises `RuntimeError` when a module has no `PLUGIN` or two share a name: a half-added plug-in stops the start.
    """
    found: dict[str, Any] = {}
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        plugin = getattr(module, "PLUGIN", None)
        if plugin is None:
            raise RuntimeError(f"{module.__name__} defines no PLUGIN")
        if plugin.name in found:
            raise RuntimeError(f"two plug-ins of {package} are named {plugin.name!r}")
        found[plugin.name] = plugin
    return dict(sorted(found.items()))
