"""Prepared calls: what checks and look-ups found for arrays of one kind, as numbers that compiled code reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from ctypes import c_int, c_size_t, sizeof
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.base import Job
from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.evaluation import Work, do_work, find_work
from tpnumba.backends.cpu.layout import ADDRESS, ARRAY_COLUMNS, BRIEF_SECONDS, LINE, MOST_PREPARED_BYTES, STREAM_BYTES
from tpnumba.backends.cpu.lowering import program_of, program_of_few
from tpnumba.backends.cpu.program import Ints, Program
from tpnumba.backends.cpu.runtime.matching import evaluate_briefly, fill_tables
from tpnumba.backends.cpu.runtime.results import empty_result, is_large
from tpnumba.backends.cpu.runtime.workspace import address_of, workspace, workspace_room
from tpnumba.backends.cpu.specialised.tiers import tier_of
from tpnumba.plans.low_rank import LowRankContraction

Array = npt.NDArray[Any]
#: What a brief evaluation gives when it pays to make code.
_PAYS = 2


class Step(NamedTuple):
    """One evaluation of a prepared call.

    Attributes:
        work: the table of arrays of which is a model: addresses in it are not those of a call.
        arguments: which array of the call each record of the table is, results among them.
        results: the numbers of its results among those of the call.
    """

    work: Work
    arguments: Mapping[int, int]
    results: tuple[int, ...]


def prepare(
    jobs: Sequence[tuple[Job, Mapping[int, int]]], inputs: Sequence[Array], results: Sequence[Array], *, into: bool
) -> PreparedCall | None:
    """Prepare a call; None if it cannot be.

    Args:
        jobs: whose results together are those of the call, in their order; with each, which of ``inputs`` stands for
            each of its arrays.
        inputs, results: those of a call that was evaluated.
        into: whether there is one result, and it was given as ``out``.
    """
    if _object_layout() is None or sum(result.nbytes for result in results) > MOST_PREPARED_BYTES:
        return None
    if any(is_large(result) for result in results):
        return None
    steps: list[Step] = []
    done = 0
    for job, sources in jobs:
        if isinstance(job.plan, LowRankContraction):
            return None
        work = find_work(job, _program(job))
        if work is None or any(work.table[i, ADDRESS] != address_of(inputs[k]) for i, k in sources.items()):
            return None
        of_step = tuple(range(done, done + len(job.results)))
        done += len(job.results)
        places = () if work.is_sum else zip(work.program.outputs, (len(inputs) + k for k in of_step), strict=True)
        steps.append(Step(work, {**sources, **dict(places)}, of_step))
    return PreparedCall(steps, inputs, results, into=into) if done == len(results) else None


def _program(job: Job) -> Program:
    """The program by which a job is done."""
    dtype = job.context.dtype_name
    program = program_of(job.plan, dtype)
    assert program is not None  # as it was evaluated
    count = prod(job.samples)
    is_few = count == 1 or (count * program.vectors <= program.tile_width and not job.plan.sums_samples)
    return program_of_few(job.plan, dtype) if is_few else program


class PreparedCall:
    """A call but for the places of its arrays; it never changes."""

    __slots__ = (
        "_address",
        "_brief",
        "_dtype",
        "_into",
        "_kept",
        "_new",
        "_numbers",
        "_room",
        "_shape",
        "_shapes",
        "_steps",
    )

    def __init__(self, steps: Sequence[Step], inputs: Sequence[Array], results: Sequence[Array], *, into: bool) -> None:
        works = [step.work for step in steps]
        self._steps, self._into = tuple(steps), into
        self._shapes, self._dtype = tuple(result.shape for result in results), results[0].dtype
        self._shape = self._shapes[0] if len(results) == 1 else None
        large = any(result.nbytes > STREAM_BYTES for result in results)
        self._new: Callable[..., Array] = empty_result if large else np.empty
        self._numbers = sum(work.table.size for work in works)
        tile_bytes = max(-(-work.program.tile_bytes // LINE) * LINE for work in works)
        self._room = tile_bytes + self._numbers * 8
        self._brief = (
            all(work.is_whole for work in works)
            and sum(work.program.seconds * work.samples for work in works) <= BRIEF_SECONDS
        )
        checked = [*inputs, *results] if into else [*inputs]
        numbers = _write_down(steps, checked, len(inputs) + len(results), tile_bytes, into=into)
        self._address = address_of(numbers)
        self._kept = numbers, [array.dtype for array in checked]

    def __call__(self, inputs: tuple[Any, ...], out: Any) -> Sequence[Array] | None:
        """Evaluate, if the arguments are of the shapes and strides it is for; None, and nothing done, if not.

        ``out`` is given if and only if it was when the call was prepared.
        """
        results: Sequence[Array]
        if self._into:
            results = (out,)
        elif self._shape is not None:  # quicker than the list of one
            results = (self._new(self._shape, self._dtype),)
        else:
            results = [self._new(shape, self._dtype) for shape in self._shapes]
        arrays = (*inputs, *results)
        if self._brief:
            room = workspace_room(self._room)
            fits = evaluate_briefly(self._address, room[1], id(arrays))
            if fits == _PAYS:
                for model, _, _ in self._steps:
                    tier_of(model.program).ask_if_it_pays()
            return results if fits else None
        return results if self._evaluate_shared(arrays, results) else None

    def _evaluate_shared(self, arrays: tuple[Array, ...], results: Sequence[Array]) -> bool:
        """The same with the interpreter's lock given up, and threads where there is enough to do."""
        tables = np.empty(self._numbers, dtype=np.int64)
        if not fill_tables(self._address, address_of(tables), id(arrays)):
            return False
        begin = 0
        for model, _, of_step in self._steps:
            end = begin + model.table.size
            work = model._replace(table=tables[begin:end].reshape(-1, ARRAY_COLUMNS))
            if work.is_whole:
                program = work.program
                if program.call(workspace(program.tile_size, program.dtype), work.table, 0, work.samples):
                    tier_of(program).ask_if_it_pays()
            else:
                do_work(work, [results[k] for k in of_step], arrays)
            begin = end
        return True


def _write_down(steps: Sequence[Step], checked: Sequence[Array], length: int, tile_bytes: int, *, into: bool) -> Ints:
    """The numbers of a prepared call, as ``layout`` describes them."""
    found = _object_layout()
    assert found is not None
    shapes: list[int] = []
    images: list[int] = []
    begin = layout.HEAD_FIELDS + len(checked) * layout.IMAGE_FIELDS
    for i, array in enumerate(checked):
        asked, wanted = layout.ALIGNED, layout.ALIGNED
        if into and i == len(checked) - 1:
            asked |= layout.WRITEABLE | layout.WARN_ON_WRITE
            wanted |= layout.WRITEABLE
        spans = [step * (n - 1) for step, n in zip(array.strides, array.shape, strict=True)]
        low, high = sum(min(0, span) for span in spans), sum(max(0, span) for span in spans) + array.itemsize
        images += [id(type(array)), id(array.dtype), array.ndim, asked, wanted, low, high, begin + len(shapes)]
        shapes += [*array.shape, *array.strides]
    begin += len(shapes)
    of_steps: list[int] = []
    pairs: list[int] = []
    pairs_begin, done = begin + len(steps) * layout.STEP_FIELDS, 0
    for work, arguments, _ in steps:
        first = pairs_begin + len(pairs)
        pairs += [number for pair in arguments.items() for number in pair]
        entry, table = work.program.entry_address, address_of(work.table)
        of_steps += [entry, table, work.table.size, work.samples, done, first, pairs_begin + len(pairs)]
        done += work.table.size
    head = [*found, length, len(checked), int(into), len(steps), begin, tile_bytes]
    return np.array([*head, *images, *shapes, *of_steps, *pairs], dtype=np.int64)


@cache
def _object_layout() -> tuple[int, int] | None:
    """The bytes that every object begins with, and where the items of a tuple stand; None if objects are not as known.

    What extensions of NumPy are compiled against, held against what NumPy says of an array.
    """
    if sys.implementation.name != "cpython" or sizeof(c_size_t) != 8:
        return None
    header, items = object.__basicsize__, tuple.__basicsize__
    array = np.empty((2, 3, 4), np.float32)[:, ::-1, 1:3]
    pair = (array, None)

    def word(address: int) -> int:
        return c_size_t.from_address(address).value

    if word(id(pair) + header) != 2 or word(id(pair) + items) != id(array):
        return None
    place = id(array) + header
    axes = range(array.ndim)
    as_known = (
        word(place - 8) == id(np.ndarray)
        and word(place + layout.NUMPY_DATA) == array.ctypes.data
        and c_int.from_address(place + layout.NUMPY_AXES).value == array.ndim
        and all(word(word(place + layout.NUMPY_SHAPE) + 8 * i) == array.shape[i] for i in axes)
        and all(word(word(place + layout.NUMPY_STRIDES) + 8 * i) == array.strides[i] % 2**64 for i in axes)
        and word(place + layout.NUMPY_DTYPE) == id(array.dtype)
        and c_int.from_address(place + layout.NUMPY_FLAGS).value & 0xFFFF == array.flags.num
        and array.flags.num & layout.ALIGNED
        and array.flags.num & layout.WRITEABLE
    )
    return (header, items) if as_known else None
