"""The one function that evaluates a call, on the arrays of any library."""

from __future__ import annotations

from collections.abc import Sequence

from tpnumba.backends import adapters, batching
from tpnumba.backends.call import Array, Call
from tpnumba.backends.namespaces import is_numpy
from tpnumba.backends.registry import choose, evaluate_on, evaluation_of

__all__ = ["evaluate"]


def evaluate(call: Call, arrays: Sequence[Array], out: Array | None = None) -> tuple[Array, ...]:
    """Evaluate a call on checked arrays; gives one array a result.

    Args:
        call: what is computed.
        arrays: one for each of ``call.operands``.
        out: an array of the (only) result's shape and dtype to write into, or None.

    Raises:
        TypeError, ImportError, RuntimeError: see :func:`tpnumba.backends.registry.choose`.
    """
    if not is_numpy(call.context.xp):
        adapter = adapters.of(call.context.xp)
        if adapter is not None:
            results: tuple[Array, ...] = adapter.evaluate(call, arrays, out)
            return results
    backend, plan = choose(call)
    if backend == "cpu":  # the way of most calls
        return batching.evaluate(evaluation_of(backend), plan, call, arrays, out)
    return evaluate_on(backend, plan, call, arrays, out)
