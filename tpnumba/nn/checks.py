"""Checks of the arguments of layers: shapes, numbers and names, before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from tpnumba.backends.namespaces import Context, common_context, is_numpy, short_name
from tpnumba.irreps import Irreps, check_degree

Array = Any


def require_last_axis(name: str, array: Array, size: int, irreps: Irreps | None = None) -> None:
    """Raise ``ValueError`` unless ``array`` has shape ``(..., size)``; ``irreps``: those that it is for, if any."""
    shape = tuple(array.shape)
    if not shape or shape[-1] != size:
        what = "" if irreps is None else f" for the irreps {irreps}"
        raise ValueError(f"{name} must have shape (..., {size}){what}, got {shape}")


def require_numpy(what: str, context: Context) -> None:
    """Raise ``TypeError`` unless the arrays are NumPy's."""
    if not is_numpy(context.xp):
        raise TypeError(f"{what} takes NumPy arrays, got arrays of {short_name(context.xp)}")


def given(**arrays: Array) -> dict[str, Array]:
    """The arrays that are not None, by name."""
    return {name: array for name, array in arrays.items() if array is not None}


def context_of(named: Mapping[str, Array]) -> Context:
    """Namespace, device and dtype of named arrays; see :func:`common_context`."""
    return common_context(named)


def require_parameters(name: str, array: Array | None, size: int) -> None:
    """Check the flat parameters ``name`` of a layer that has ``size`` of them.

    Raises:
        ValueError: they are missing, given where there are none, or of another shape.
    """
    if array is None:
        if size:
            raise ValueError(f"{name} are missing: an array of shape ({size},) is expected")
    elif tuple(getattr(array, "shape", ())) != (size,):
        raise ValueError(f"{name} must have shape ({size},), got {tuple(getattr(array, 'shape', ()))}")


def check_count(name: str, value: Any) -> int:
    """Return ``value`` as a positive Python int.

    Raises:
        TypeError, ValueError: it is none.
    """
    if (count := check_degree(name, value)) == 0:
        raise ValueError(f"{name} must be a positive integer, got 0")
    return count


def check_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Return ``value`` as a finite float.

    Raises:
        TypeError: it is no number.
        ValueError: it is not finite, or not above zero where ``positive`` asks for it.
    """
    if isinstance(value, bool | str | bytes) or not hasattr(value, "__float__") or getattr(value, "shape", ()) != ():
        raise TypeError(f"{name} must be a number, got {value!r}")
    number = float(value)
    if not isfinite(number) or (positive and number <= 0):
        raise ValueError(f"{name} must be finite{' and above zero' if positive else ''}, got {value!r}")
    return number
