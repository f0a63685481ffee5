"""Operators as nodes of the graphs of ``torch.compile``, which then need not read the Python code of this package.

A node is a torch operator without a rule of its own for gradients, batching or code generation: when torch traces its
graph with the tensors it likes (fake, functional, wrapped), it calls the operator's method, and finds the primitive
that the adapter of torch evaluates calls by, or the operations of the generic backend.
"""

from __future__ import annotations

import sys
import threading
import weakref
from typing import Any

from tpnumba.backends.adapters.keys import key_of

#: Operators by their number, which equal ones share; those that are gone are taken out.
_operators: dict[int, list[weakref.ref[Any]]] = {}

#: Around changes of that table; ``forget`` may come in at any place, this very table's changes among them.
_lock = threading.RLock()

#: The library that the torch operator lives in as long as it is referenced; empty before torch is there.
_library: list[Any] = []

_SCHEMA = "(int operator, str method, Tensor[] arrays, str[] names, str backend) -> Tensor[]"


def register_operator(operator: object, arguments: object) -> int:
    """Give an operator a number, by which a compiled graph knows it, as graphs hold nothing but tensors and numbers.

    Args:
        operator: the operator; it is not kept alive.
        arguments: what tells it from operators that compute something else.
    """
    number = key_of((type(operator).__qualname__, arguments))

    def forget(gone: weakref.ref[Any]) -> None:
        with _lock:
            others = [reference for reference in _operators.get(number, ()) if reference is not gone]
            if others:
                _operators[number] = others
            else:
                _operators.pop(number, None)

    reference = weakref.ref(operator, forget)
    with _lock:
        _operators[number] = [*_operators.get(number, ()), reference]
    if "torch" in sys.modules and not _library:
        _define()
    return number


def is_compiling() -> bool:
    """Whether ``torch.compile`` is reading the caller's code."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if not _library:
        _define()
    return bool(torch.compiler.is_dynamo_compiling())


def call_as_node(
    operator: Any, method: str, arrays: tuple[Any, ...], named: dict[str, Any], backend: str, out: Any = None
) -> Any:
    """Call a method of an operator, which has a number in ``_number``, as one node of torch's graph.

    Args:
        operator, method: the operator and the name of its method.
        arrays: the positional arguments; None at the end is left out.
        named: the keyword arguments, of which None is left out.
        backend: the backend asked for.
        out: must be None.

    Raises:
        TypeError: ``out`` was given.
    """
    if out is not None:
        raise TypeError("out cannot be used in a function that torch compiles: it would be written into")
    names = [key for key, array in named.items() if array is not None]
    given = [array for array in arrays if array is not None] + [named[key] for key in names]
    result = sys.modules["torch"].ops.tpnumba.call(operator._number, method, given, names, backend)
    return tuple(result) if len(result) > 1 else result[0]


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
    found = next(known for known in (reference() for reference in _operators[operator]) if known is not None)
    result = getattr(found, method)(*plain, **named, backend=backend)
    return list(result) if isinstance(result, tuple) else [result]
