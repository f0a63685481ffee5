"""The compilers of torch and jax.

torch.compile sees an operator as one step of its graph, so that it need not read the Python code. The step is a torch
operator without a rule of its own for gradients, batching or code generation: torch traces through
it with the tensors it likes (fake, functional, wrapped), and finds the operations of the generic backend.

jax compiles every single operation for every shape, which takes seconds for the many small ones of a plan; so the
evaluation of a plan is one compiled function also outside of ``jax.jit``.
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from tpnumba.backends.namespaces import Context, is_jax

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")

_numbers = itertools.count()
_operators: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

#: The library that the torch operator lives in as long as it is kept; empty before torch is there.
_library: list[Any] = []

_SCHEMA = "(int operator, str method, Tensor[] arrays, str[] names, str backend) -> Tensor[]"


def register_operator(operator: object) -> int:
    """Give an operator a number, by which a compiled graph knows it, as graphs hold nothing but tensors and numbers."""
    number = next(_numbers)
    _operators[number] = operator
    if "torch" in sys.modules and not _library:
        _define()
    return number


def _define() -> None:
    """Make the torch operator ``tpnumba::call``."""
    torch: Any = sys.modules["torch"]
    library = torch.library.Library("tpnumba", "DEF")
    library.define(f"call{_SCHEMA}")
    library.impl("call", _call, "CompositeImplicitAutograd")
    _library.append(library)


# If torch comes in after the operators, the first compilation defines it, in a pause between two graphs.
_define._torchdynamo_disable = True  # type: ignore[attr-defined]
_define._torchdynamo_disable_msg = "call an operator of tpnumba once before compiling, or make it after importing torch"  # type: ignore[attr-defined]


def _call(operator: int, method: str, arrays: list[Any], names: list[str], backend: str) -> list[Any]:
    plain = arrays[: len(arrays) - len(names)]
    named = dict(zip(names, arrays[len(plain) :], strict=True))
    result = getattr(_operators[operator], method)(*plain, **named, backend=backend)
    return list(result) if isinstance(result, tuple) else [result]


def single_graph_node(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Make a method of an operator, which has a number in ``_number``, one step for ``torch.compile``."""
    name = method.__name__

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        torch = sys.modules.get("torch")
        if torch is not None and not _library:
            _define()
        if torch is None or not torch.compiler.is_dynamo_compiling():
            return method(self, *args, **kwargs)
        backend = kwargs.pop("backend", "auto")
        kwargs.pop("num_threads", None)
        if kwargs.pop("out", None) is not None:
            raise TypeError("out cannot be used in a function that torch compiles: it would be written into")
        names = [key for key, array in kwargs.items() if array is not None]
        arrays = [array for array in args if array is not None] + [kwargs[key] for key in names]
        result = torch.ops.tpnumba.call(self._number, name, arrays, names, backend)
        return tuple(result) if len(result) > 1 else result[0]

    return call  # type: ignore[return-value]


@cache
def _jitted(function: Callable[..., Any], fixed: int) -> Callable[..., Any]:
    """``function`` compiled by jax, anew for other values of its first ``fixed`` arguments."""
    jitted: Callable[..., Any] = sys.modules["jax"].jit(function, static_argnums=tuple(range(fixed)))
    return jitted


def run_as_one(function: Callable[..., R], context: Context, fixed: tuple[Any, ...], *arrays: Any) -> R:
    """``function(context, *fixed, *arrays)``; for jax as one compiled function. What is fixed must be hashable."""
    if is_jax(context.xp):
        # The device is that of the arrays, also for the tables that go into the compiled function.
        function, context = _jitted(function, 1 + len(fixed)), context._replace(device=None)
    return function(context, *fixed, *arrays)
