"""What a backend is: which arrays it takes, which plans it has a kernel for, and how it evaluates rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any


class Backend(Protocol):
    """One way to evaluate plans: a package with these functions, entered in :mod:`tpnumba.backends.registry`.

    Attributes:
        TAKES: which arrays, in words, for messages.
    """

    TAKES: str

    def accepts(self, context: Context) -> bool:
        """Whether arrays of this namespace and device are taken."""

    def missing(self) -> Exception | None:
        """What stands in the way of any evaluation, as an error; None if nothing does."""

    def supports(self, plan: Plan | Harmonics, context: Context) -> bool:
        """Whether there is a kernel for the plan in the dtype of the context."""

    def on_device(self, array: Array) -> AbstractContextManager[Any]:
        """What makes the device of an array the current one."""


class Evaluation(Protocol):
    """The module ``evaluation`` of a backend's package.

    Rows are the samples of an operand along one axis: ``(n, size)``, or ``(size,)`` for one row that all samples share.
    """

    def portion_samples(self, plan: Plan | Harmonics, context: Context) -> int:
        """The most samples to be copied into rows at a time, for the sake of memory."""

    def empty(self, shape: tuple[int, ...], context: Context) -> Array:
        """A new array of the context's dtype."""

    def rows(self, array: Array, context: Context) -> Array:
        """A copy of rows that can be evaluated; the array itself if it needs none."""

    def evaluate_rows(
        self,
        plan: Plan | Harmonics,
        arrays: Mapping[int, Array],
        samples: tuple[int, ...],
        results: Sequence[Array],
        call: Call,
        *,
        fresh: bool,
    ) -> bool:
        """Evaluate, if all arrays stand in memory as rows; nothing is done, and False given, if one does not.

        Args:
            plan: with the access of each operand.
            arrays: of each input, with the leading axes ``samples`` or such that broadcast to them; with one axis where
                the plan says that one row is shared.
            samples: at least one.
            results: of the leading axes ``samples``; with one axis, the sum of all samples, where the plan says that
                the output is shared. Every number is written.
            call: for its context and its number of threads.
            fresh: whether the results were allocated for this call.
        """
