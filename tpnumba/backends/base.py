"""What a backend is: which arrays it takes, which plans it has a kernel for, and how it evaluates rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Plan
from tpnumba.plans.harmonics import Harmonics

Array = Any


class Job(NamedTuple):
    """What is to be evaluated, on arrays with as many leading axes as the samples have, or such that broadcast to them.

    Attributes:
        plan: with the access of each operand.
        arrays: of each input; with one axis where the plan says that one row is shared.
        samples: the leading axes; at least one sample.
        results: of the leading axes ``samples``; with one axis, the sum of all samples, where the plan says that the
            output is shared. Every number is written.
        context: namespace, device and dtype.
        num_threads: for backends with threads of their own; None leaves it to them.
        fresh: whether the results were allocated for this call.
    """

    plan: Plan | Harmonics
    arrays: Mapping[int, Array]
    samples: tuple[int, ...]
    results: Sequence[Array]
    context: Context
    num_threads: int | None
    fresh: bool


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

    def evaluate_rows(self, job: Job) -> bool:
        """Evaluate, if all arrays stand in memory as rows; nothing is done, and False given, if one does not."""
