"""Decides that a process parses one expression at a time.

In Python 3.11 all threads share the depth that building a syntax tree counts, so that two parses at once can end in
SystemError (cpython issue 106905), and a worker runs several backtests in threads.
"""

import ast
from threading import Lock

_ONE = Lock()


def parse(text: str) -> ast.expr:
    """The tree of an expression. Raises SyntaxError, ValueError, RecursionError and MemoryError as `ast.parse` does."""
    with _ONE:
        return ast.parse(text, mode="eval").body
