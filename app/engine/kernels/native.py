"""Loads the compiled kernels and calls them, without numba: llvmlite links the one file of machine code that
`app.engine.kernels.build` wrote, and an entry takes the address of a frame of 64-bit words that holds its arguments.

A file belongs to one version of the kernels, of the compiler and to one kind of processor. Where there is none, it is
built in a process of its own; processes that ask for it at the same time wait for the first.
"""

import ctypes
import fcntl
import hashlib
import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from app.engine.kernels import cache_folder
from app.engine.kernels.book import ENTRIES, PARTS, WHOLE, Column

_POINTER, _WORD = ctypes.c_void_p, ctypes.c_int64
_DTYPES = {name: np.dtype(name) for name in ("i8", "u1", "f8")}
_FAILED = "an amount does not fit into 64 bits"


class Part:
    """Arrays of one argument as the compiled code takes them, for several calls. It keeps them alive."""

    def __init__(self, name: str, kind: Any, argument: Any) -> None:
        self.kind, self.argument = kind, argument
        columns = [(kind, argument)] if isinstance(kind, Column) else zip(PARTS[kind], argument, strict=True)
        self.words: list[int] = []
        for column, array in columns:
            self.words += _packed(name, column, array)


class Call:
    """One entry with its arguments, ready to be called any number of times. It keeps the arrays alive."""

    def __init__(self, name: str, *arguments: Any) -> None:
        """Arrays by position, those of a named tuple together. The integers at the end come with each call."""
        kinds = ENTRIES[name][1]
        arrays = [kind for kind in kinds if kind != WHOLE]
        if len(arguments) != len(arrays):
            raise TypeError(f"{name} takes {len(arrays)} arrays, not {len(arguments)}")
        self._parts = [
            given if isinstance(given, Part) and given.kind is kind else Part(name, kind, given)
            for kind, given in zip(arrays, arguments, strict=True)
        ]
        words = [word for part in self._parts for word in part.words]
        self._first, self._count = len(words), len(kinds) - len(arrays)
        held: Any = np.array(words + [0] * (self._count + 1), np.int64)
        self._frame = (_WORD * len(held)).from_buffer(held)
        self._address = ctypes.addressof(self._frame)
        self._run = load()[name]

    def __call__(self, *integers: int) -> int:
        """The entry's result. Raises `OverflowError` where an amount exceeds 64 bits."""
        if len(integers) != self._count:
            raise TypeError(f"takes {self._count} integers, not {len(integers)}")
        frame, at = self._frame, self._first
        for value in integers:
            frame[at] = value
            at += 1
        if self._run(self._address) != 0:
            raise OverflowError(_FAILED)
        return int(frame[at])


def bind(name: str, *arguments: Any) -> Call:
    """The entry `name` with its arrays. Raises `TypeError` for an array of another type or layout."""
    return Call(name, *arguments)


def part(kind: Any, argument: Any) -> Part:
    """An argument that several entries take. Raises `TypeError` as `bind` does."""
    return Part("an entry", kind, argument)


def _packed(name: str, column: Column, array: np.ndarray[Any, Any]) -> tuple[int, ...]:
    """An array as the compiled code takes it: owner and parent (none), items, item size, address, shape, strides."""
    if array.dtype != _DTYPES[column.dtype] or array.ndim != column.axes or not array.flags.c_contiguous:
        raise TypeError(f"{name} takes a contiguous array {column}, not {array.dtype}, {array.ndim} axes")
    address = array.__array_interface__["data"][0]
    return 0, 0, array.size, array.itemsize, address, *array.shape, *array.strides


@cache
def load() -> dict[str, Any]:
    """The entries' functions by name; compiled first where there is no file for this processor."""
    file = cache_folder() / f"{_fingerprint()}.o"
    if not file.exists():
        _build(file)
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(opt=3, jit=True, codemodel="jitdefault")
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    engine.add_object_file(llvm.ObjectFileRef.from_path(str(file)))
    engine.finalize_object()
    _keep.append(engine)
    signature = ctypes.CFUNCTYPE(ctypes.c_int32, _POINTER)
    return {name: signature(engine.get_function_address(f"mandi_{name}")) for name in ENTRIES}


_keep: list[Any] = []
"""The code lives as long as its engine."""


def _fingerprint() -> str:
    """Of what the machine code depends on beside its source: processor and compiler."""
    numba = importlib.util.find_spec("numba")
    version = Path(numba.origin).with_name("_version.py").read_bytes() if numba and numba.origin else b""
    processor = f"{llvm.get_process_triple()} {llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    return hashlib.sha256(f"{processor} {llvmlite.__version__}".encode() + version).hexdigest()[:16]


def _build(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not file.exists():
            command = [sys.executable, "-m", "app.engine.kernels.build", str(file)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3], check=False)
            if done.returncode != 0:
                raise RuntimeError(f"the kernels could not be compiled into {file.parent}:\n{done.stderr[-2000:]}")
