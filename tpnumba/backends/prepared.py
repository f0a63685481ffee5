"""Prepared calls: an operator remembers what the checks of its last calls found, and tries that first.

What does not fit goes the usual way, which is the only place of checks and of their messages. There a call is prepared
when its like comes for the second time, so that shapes that change with every call cost nothing. Only calls with plain
arrays of NumPy, on the backend ``cpu``, are prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tpnumba.backends import registry
from tpnumba.backends.batching import is_in_place, job_of
from tpnumba.backends.call import Array, Call
from tpnumba.backends.namespaces import is_numpy

#: How many calls of a method are kept prepared, and how many are watched for whether they come again.
_MOST = 4

_Prepared = Callable[[tuple[Any, ...], Any], Sequence[Array] | None]
_Key = tuple[Any, ...]


class Evaluated(NamedTuple):
    """A call of a plan, its arrays, and which argument of the operator each of them is."""

    call: Call
    arrays: Sequence[Array]
    arguments: Sequence[int]


class PreparedCalls:
    """Those of one method of one operator.

    Threads share it without a lock: what is in it is replaced as a whole, and never changed.
    """

    __slots__ = ("_calls", "_refused", "_seen")

    def __init__(self) -> None:
        #: The options of a call, itself, and what it was recognised by; those that came last are first.
        self._calls: tuple[tuple[_Key, _Prepared, _Key], ...] = ()
        self._seen: tuple[_Key, ...] = ()
        self._refused: tuple[_Key, ...] = ()

    def evaluate(
        self, inputs: tuple[Any, ...], out: Any, backend: str, num_threads: int | None
    ) -> Sequence[Array] | None:
        """The results of a prepared call; None if none fits, and then nothing was done.

        Args:
            inputs: the arguments, unchecked.
            out, backend, num_threads: of the call, unchecked.
        """
        calls = self._calls
        if calls and (num_threads is None or type(num_threads) is int):
            # What _options gives, without the call.
            options = out is None, backend, num_threads, registry.threads_variable(), registry.AUTOMATIC
            for of_call, call, _ in calls:
                if of_call == options and (results := call(inputs, out)) is not None:
                    return results
        return None

    def note(
        self,
        evaluated: Sequence[Evaluated],
        inputs: tuple[Array, ...],
        results: Sequence[Array],
        out: Array | None,
        num_threads: int | None,
    ) -> None:
        """Note a call that was evaluated, and prepare it if its like has come before.

        Args:
            evaluated: the calls of plans whose results together are ``results``.
            inputs: the arguments of the operator.
            results: of the operator.
            out, num_threads: as they were given.
        """
        if not evaluated or not is_numpy(evaluated[0].call.context.xp):
            return
        arrays = inputs if out is None else (*inputs, out)
        if any(type(array) is not np.ndarray for array in arrays):
            return
        if num_threads is not None and type(num_threads) is not int:
            return
        options = _options(out, evaluated[0].call.backend, num_threads)
        key = options, *((array.dtype, array.shape, array.strides, array.flags.aligned) for array in arrays)
        # One that is prepared and still came this way has an `out` between the numbers of an argument, or the like.
        if key in self._refused or any(known == key for _, _, known in self._calls):
            return
        if key not in self._seen:
            self._seen = (key, *self._seen[: _MOST - 1])
            return
        self._seen = tuple(other for other in self._seen if other != key)
        call = _prepare(evaluated, inputs, results, out)
        if call is None:
            self._refused = (key, *self._refused[: _MOST - 1])
        else:
            self._calls = ((options, call, key), *self._calls[: _MOST - 1])


def _options(out: Any, backend: str, num_threads: int | None) -> _Key:
    """What a call is prepared for besides its arrays."""
    return out is None, backend, num_threads, registry.threads_variable(), registry.AUTOMATIC


def _prepare(
    evaluated: Sequence[Evaluated], inputs: tuple[Array, ...], results: Sequence[Array], out: Array | None
) -> _Prepared | None:
    """A prepared call; None if it cannot be."""
    jobs = []
    for call, arrays, arguments in evaluated:
        # Arguments that were cut, or arrays that were made for the call, are not what will come.
        for k, array in zip(arguments, arrays, strict=True):
            if k >= len(inputs) or inputs[k] is not array:
                return None
        backend, plan = registry.choose(call)
        if backend != "cpu" or 0 in call.samples or 0 in plan.result_sizes:
            return None
        job, padded = job_of(registry.evaluation_of(backend), plan, call, arrays, out)
        if not is_in_place(job, padded):
            return None
        jobs.append((job, dict(zip(call.operands, arguments, strict=True))))
    from tpnumba.backends.cpu.prepared import prepare

    return prepare(jobs, inputs, results, into=out is not None)
