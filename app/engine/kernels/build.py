"""Compiles every entry into one file of machine code: `python -m app.engine.kernels.build FILE`.

Each entry gets a trampoline `int32 mandi_NAME(int64 *frame)`, which takes the arguments from the frame, in the order in
which numba flattens them, calls the kernel, and leaves its result behind the last one. The status is 0, or not where
the kernel raised. The file needs nothing of numba or Python to run; a test runs it in a process without numba.

numba would optimise, emit and load each kernel by itself, and compile it anew for each constant it is called with; that
is three quarters of the time. Here a kernel is compiled once, and everything is optimised and emitted once, together.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numba
from llvmlite import ir
from numba.core import codegen, dispatcher
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from app.engine.kernels import jit
from app.engine.kernels.book import ENTRIES, PARTS, WHOLE, Column

_TYPES: Any = numba.types
_Library: Any = codegen.JITCodeLibrary
_JITCodegen: Any = codegen.JITCPUCodegen
_Dispatcher: Any = dispatcher.Dispatcher
_DTYPES = {"i8": _TYPES.int64, "u1": _TYPES.uint8, "f8": _TYPES.float64}
_WORD, _STATUS = ir.IntType(64), ir.IntType(32)


class _Ingredient(_Library):  # type: ignore[misc]
    """A kernel on its way into the file: tidied, so that linking it is cheap, neither emitted nor loaded."""

    def _optimize_final_module(self) -> None:
        options = {"loop_vectorize": False, "slp_vectorize": False, "opt": 0, "cost": "cheap"}
        passes, builder = self._codegen._module_pass_manager(**options)
        passes.run(self._final_module, builder)

    def _finalize_final_module(self) -> None:
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """None: nothing is loaded."""
        return 0


class _File(_Ingredient):
    """All kernels of the file, optimised together."""

    def _optimize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and not function.name.startswith("mandi_"):
                function.linkage = "internal"
        _Library._optimize_final_module(self)


class _Codegen(_JITCodegen):  # type: ignore[misc]
    _library_class = _Ingredient

    def set_env(self, env_name: str, env: Any) -> None:
        """Nothing: kernels call no Python, so they need no environment."""


def build(file: Path) -> None:
    """Write the file; it appears whole or not at all."""
    jit.OPTIONS.update(cache=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    _Dispatcher.get_call_template = _of_whole_types(_Dispatcher.get_call_template)
    target = cpu_target.target_context._internal_codegen = _Codegen("mandi")
    compiled = {name: _compile(name) for name in ENTRIES}
    with global_compiler_lock:
        library = _File(target, "mandi_kernels")
        module = library.create_ir_module("mandi_entries")
        for name, result in compiled.items():
            _trampoline(module, name, result.fndesc)
        library.add_ir_module(module)
        for result in compiled.values():
            library.add_linking_library(result.library)
        library.finalize()
        code = target._tm.emit_object(library._final_module)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_bytes(code)
    part.replace(file)


def _of_whole_types(resolve: Any) -> Any:
    """A call's kernel for the arguments' types, not for the constants among them."""

    def resolved(self: Any, args: tuple[Any, ...], kws: dict[str, Any]) -> Any:
        plain = _TYPES.unliteral
        return resolve(self, tuple(map(plain, args)), {name: plain(value) for name, value in kws.items()})

    return resolved


def _compile(name: str) -> Any:
    module, kinds = ENTRIES[name]
    dispatcher = getattr(importlib.import_module(f"app.engine.kernels.{module}"), name)
    dispatcher.compile(tuple(_type(kind) for kind in kinds))
    (result,) = dispatcher.overloads.values()
    if _TYPES.unliteral(result.fndesc.restype) != _TYPES.int64:
        raise TypeError(f"the entry {name} returns {result.fndesc.restype}, not int64")
    return result


def _type(kind: Any) -> Any:
    if kind == WHOLE:
        return _TYPES.int64
    if isinstance(kind, Column):
        return _TYPES.Array(_DTYPES[kind.dtype], kind.axes, "C")
    return _TYPES.NamedTuple([_type(column) for column in PARTS[kind]], kind)


def _trampoline(module: ir.Module, name: str, description: Any) -> None:
    kernel_type = cpu_target.target_context.call_conv.get_function_type(description.restype, description.argtypes)
    kernel = ir.Function(module, kernel_type, description.llvm_func_name)
    entry = ir.Function(module, ir.FunctionType(_STATUS, [_WORD.as_pointer()]), f"mandi_{name}")
    builder = ir.IRBuilder(entry.append_basic_block())
    (frame,) = entry.args
    result, error = (builder.alloca(kind.pointee) for kind in kernel_type.args[:2])
    builder.store(ir.Constant(_WORD, 0), result)
    arguments = []
    for place, kind in enumerate(kernel_type.args[2:]):
        word = builder.load(builder.gep(frame, [ir.Constant(_WORD, place)]))
        arguments.append(builder.inttoptr(word, kind) if isinstance(kind, ir.PointerType) else word)
    status = builder.call(kernel, [result, error, *arguments])
    builder.store(builder.load(result), builder.gep(frame, [ir.Constant(_WORD, len(arguments))]))
    builder.ret(status)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
