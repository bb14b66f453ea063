"""`python -m tests.bench NAME [--json]`: runs one benchmark and prints its figures."""

import argparse
import importlib
import json
from typing import TypedDict

NAMES = ("engine", "orders")


class Figure(TypedDict):
    """One figure. `ratio` is ours / limit."""

    name: str
    ours: float
    limit: float
    unit: str
    ratio: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="mandi bench")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print a list of {name, ours, limit, unit, ratio}")
    arguments = parser.parse_args()
    figures: list[Figure] = importlib.import_module(f"tests.bench.{arguments.name}").run()
    if arguments.json:
        print(json.dumps(figures))
        return
    for figure in figures:
        print(
            f"{figure['name']:<16} {figure['ours']:>10.2f} {figure['unit']:<6}"
            f" limit {figure['limit']:>10.2f}   ratio {figure['ratio']:.2f}"
        )


main()
