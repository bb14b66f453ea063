"""`python -m tests.bench NAME [--json]`: runs one benchmark and prints its figures."""

import argparse
import importlib
import json
import sys

from tests.bench.measure import Figure, Refused

NAMES = ("api", "engine", "ledger", "orders")


def main() -> None:
    parser = argparse.ArgumentParser(prog="mandi bench")
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", action="store_true", help="print a list of {name, ours, limit, unit, ratio}")
    arguments = parser.parse_args()
    found: list[Figure | Refused] = importlib.import_module(f"tests.bench.{arguments.name}").run()
    figures = [one for one in found if not isinstance(one, Refused)]
    if arguments.json:
        print(json.dumps(figures))
    else:
        for figure in figures:
            print(
                f"{figure['name']:<32} {figure['ours']:>10.2f} {figure['unit']:<7}"
                f" limit {figure['limit']:>10.2f}   ratio {figure['ratio']:.2f}"
            )
    refused = [one for one in found if isinstance(one, Refused)]
    for one in refused:
        print(f"{one.name}: no figure, the results differ: {one.reason}", file=sys.stderr)
    sys.exit(1 if refused else 0)


main()
