"""Calls on NumPy arrays with their plans, kept for the next call on arrays of such shapes.

What stands between torch or jax and a kernel runs with caches that these libraries have just filled with their own
code, where it takes two to three times as long as by itself. So a call of a small batch looks up what it needs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from tpnumba.backends import batching
from tpnumba.backends.adapters import rules
from tpnumba.backends.call import Call, Shape
from tpnumba.backends.namespaces import numpy_context
from tpnumba.backends.registry import choose, evaluation_of
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

#: So many shapes are kept of what is computed; of more, none of the earlier ones.
_MOST = 256


class Kept(NamedTuple):
    """A call on NumPy arrays, with its plan and its gradients.

    Attributes:
        call: of backend ``cpu``.
        plan: its plan.
        shapes: of the arrays.
        gradients: of those arrays whose gradient has been asked for, the call, and which of the arrays and the
            cotangent (the last) it is made on; None of gradients that are no calls.
    """

    call: Call
    plan: Plan | Harmonics
    shapes: tuple[Shape, ...]
    gradients: dict[int, tuple[Kept, tuple[int, ...]] | None]

    def evaluate(self, arrays: Sequence[Any], out: Any = None) -> tuple[Any, ...]:
        """The results, by the kernels; ``out``: NumPy array for the only one."""
        return batching.evaluate(evaluation_of("cpu"), self.plan, self.call, arrays, out)

    def gradient(self, number: int) -> tuple[Kept, tuple[int, ...]] | None:
        """What gives the gradient by an array; see ``gradients``."""
        try:
            return self.gradients[number]
        except KeyError:
            rule = rules.gradient_by(self.call, number, self.shapes[number][:-1])
            found = None if rule is None else (_kept(rule.call, ()), rule.places)
            self.gradients[number] = found
            return found


def on_numpy(call: Call, shapes: tuple[Shape, ...], num_threads: int | None) -> Kept:
    """A call of another library's arrays, as one on NumPy arrays of the same shapes.

    Args:
        call: the call; its backend and its threads are not looked at.
        shapes: of the arrays.
        num_threads: None leaves them to the kernels.
    """
    kept: dict[Hashable, Kept] = call.methods.__dict__.setdefault("_kept", {})
    key = call.operands, call.samples, call.batch, call.context.dtype, shapes, num_threads
    found = kept.get(key)
    if found is None:
        if len(kept) >= _MOST:
            kept.clear()
        context = numpy_context(call.context.dtype_name)
        plain = Call(call.methods, call.operands, call.samples, call.batch, context, "cpu", num_threads)
        found = kept[key] = _kept(plain, tuple(map(tuple, shapes)))
    return found


def _kept(call: Call, shapes: tuple[Shape, ...]) -> Kept:
    return Kept(call, choose(call)[1], shapes, {})
