"""A linear map of NumPy arrays by few large products: blocks that are joined with each other have one matrix.

Rows are worked in blocks, which threads share: the copies of all input blocks of a group side by side, one product, and
its columns to the output blocks. Where a block is a matrix in memory already, as scalars are, nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tpnumba.backends.cpu.runtime.threads import WORTH_SHARING, default_threads, share
from tpnumba.backends.namespaces import Context
from tpnumba.backends.registry import resolve_threads
from tpnumba.irreps import Irreps
from tpnumba.nn.matmul import matmul

if TYPE_CHECKING:
    from tpnumba.nn.linear import Linear

Array = Any

#: Rows that are worked at a time: what pieces of products divide, and enough for the speed of BLAS.
_ROWS = 64

#: Multiplications that take as long as it takes to wake a thread, and to be worth it.
_WORTH_SHARING = int(WORTH_SHARING * 5e10)


class Block(NamedTuple):
    """The place of a block among the components of a feature."""

    start: int
    dim: int
    mul: int


class Group(NamedTuple):
    """Blocks that are joined with each other, and their matrix, with every factor in it."""

    inputs: tuple[Block, ...]
    outputs: tuple[Block, ...]
    matrix: Array


class FoldedLinear(NamedTuple):
    """What ``Linear.fold`` makes of flat weights; holds for that map alone.

    Attributes:
        linear: the map.
        groups: of the map.
        bias: what is added to every row; None for nothing.
        transposed: the groups of the gradient by the features.
    """

    linear: Linear
    groups: tuple[Group, ...]
    bias: Array | None
    transposed: tuple[Group, ...]


def fold(linear: Linear, context: Context, weights: Array, biases: Array | None, factor: float) -> FoldedLinear:
    """The matrices of a map with these weights times ``factor``."""
    inputs, outputs = _blocks(linear.irreps_in), _blocks(linear.irreps_out)
    number = list(range(len(inputs) + len(outputs)))  # of the group, by block: outputs come after the inputs
    for path in linear.paths:
        one, other = sorted((number[path.i_in], number[len(inputs) + path.i_out]))
        number = [one if n == other else n for n in number]
    groups = []
    for group in sorted({number[path.i_in] for path in linear.paths}):
        ins = [i for i in range(len(inputs)) if number[i] == group]
        outs = [k for k in range(len(outputs)) if number[len(inputs) + k] == group]
        rows, columns = (_places([blocks[i].mul for i in some]) for blocks, some in ((inputs, ins), (outputs, outs)))
        matrix = np.zeros((rows[-1].stop, columns[-1].stop), context.dtype)
        for path in linear.paths:
            if number[path.i_in] == group:
                part = weights[path.weights].reshape(path.shape) * (path.factor * factor)
                matrix[rows[ins.index(path.i_in)], columns[outs.index(path.i_out)]] += part
        groups.append(Group(tuple(inputs[i] for i in ins), tuple(outputs[k] for k in outs), matrix))
    of_gradient = tuple(Group(group.outputs, group.inputs, np.ascontiguousarray(group.matrix.T)) for group in groups)
    return FoldedLinear(linear, tuple(groups), _bias(linear, context, biases), of_gradient)


def _bias(linear: Linear, context: Context, biases: Array | None) -> Array | None:
    if biases is None or not linear.bias_numel:
        return None
    found, start = np.zeros(linear.irreps_out.dim, context.dtype), 0
    for (mul, _), place, biased in zip(linear.irreps_out, linear.irreps_out.slices(), linear.biases, strict=True):
        if biased:
            found[place] = biases[start : start + mul]
            start += mul
    return found


def _blocks(irreps: Irreps) -> list[Block]:
    return [Block(place.start, ir.dim, mul) for (mul, ir), place in zip(irreps, irreps.slices(), strict=True)]


def multiply(
    context: Context,
    folded: FoldedLinear,
    x: Array,
    out: Array | None,
    num_threads: int | None,
    *,
    gradient: bool = False,
) -> Array:
    """The map of features of shape ``(..., size)``, or the gradient by them, into ``out`` or a new array.

    The bits do not depend on the number of threads.
    """
    linear, dtype = folded.linear, context.dtype
    found = folded.transposed if gradient else folded.groups
    groups = [group._replace(matrix=group.matrix.astype(dtype, copy=False)) for group in found]
    bias = None if gradient else folded.bias
    size = (linear.irreps_in if gradient else linear.irreps_out).dim
    leading = x.shape[:-1]
    count = prod(leading)
    into = out if out is not None and out.flags.c_contiguous else np.empty((*leading, size), dtype)
    rows, results = x.astype(dtype, copy=False).reshape(count, x.shape[-1]), into.reshape(count, size)
    covers = sum(block.dim * block.mul for group in groups for block in group.outputs) == size
    products = count * sum(group.inputs[0].dim * group.matrix.size for group in groups)

    def evaluate(number: int) -> None:
        place = slice(number * _ROWS, min((number + 1) * _ROWS, count))
        if not covers:
            results[place] = 0
        for group in groups:
            _multiply_group(context, group, rows[place], results[place], linear.layout)
        if bias is not None:
            results[place] += bias

    threads = resolve_threads(num_threads) or default_threads()
    share(evaluate, -(-count // _ROWS), threads if products > _WORTH_SHARING else 1)
    if out is not None and into is not out:
        out[...] = into
    return into if out is None else out


def _multiply_group(context: Context, group: Group, x: Array, out: Array, layout: str) -> None:
    count, dim = x.shape[0], group.inputs[0].dim
    if not count * dim * group.matrix.size:
        for block in group.outputs:
            _view(out, block, layout)[...] = 0
        return
    left = _as_matrix(x, group.inputs)
    if left is None:
        gathered = np.empty((count, dim, group.matrix.shape[0]), out.dtype)
        for block, place in zip(group.inputs, _places([block.mul for block in group.inputs]), strict=True):
            gathered[:, :, place] = _view(x, block, layout)
        left = gathered.reshape(count * dim, group.matrix.shape[0])
    into = _as_matrix(out, group.outputs)
    product = matmul(context, left, group.matrix, into)
    if into is None:
        parts = product.reshape(count, dim, group.matrix.shape[1])
        for block, place in zip(group.outputs, _places([block.mul for block in group.outputs]), strict=True):
            _view(out, block, layout)[...] = parts[:, :, place]


def _as_matrix(rows: Array, blocks: Sequence[Block]) -> Array | None:
    """Scalars that follow each other as the matrix that they are; None of other blocks."""
    start = end = blocks[0].start
    for block in blocks:
        if block.dim != 1 or block.start != end:
            return None
        end += block.mul
    return rows[:, start:end]


def _view(rows: Array, block: Block, layout: str) -> Array:
    """A block as an array of shape ``(n, dim, mul)``."""
    part = rows[:, block.start : block.start + block.dim * block.mul]
    if layout == "ir_mul":
        return part.reshape(rows.shape[0], block.dim, block.mul)
    return part.reshape(rows.shape[0], block.mul, block.dim).transpose(0, 2, 1)


def _places(sizes: Iterable[int]) -> list[slice]:
    """Consecutive slices of these sizes."""
    found, start = [], 0
    for size in sizes:
        found.append(slice(start, start + size))
        start += size
    return found
