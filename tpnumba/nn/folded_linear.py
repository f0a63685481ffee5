"""A linear map of NumPy arrays by few large products: blocks that are joined with each other have one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tpnumba.backends.cpu.linear.groups import Block, Group, Tables, make_tables
from tpnumba.backends.namespaces import Context
from tpnumba.irreps import Irreps
from tpnumba.nn.kernels import kernels_of

if TYPE_CHECKING:
    from tpnumba.nn.linear import Linear

Array = Any


class Matrices(NamedTuple):
    """The groups of a map, or of its gradient: how blocks are joined, and by which matrices."""

    tables: Tables
    matrices: tuple[Array, ...]


class FoldedLinear(NamedTuple):
    """What ``Linear.fold`` makes of flat weights; holds for that map alone.

    Attributes:
        linear: the map.
        weights, biases: flat, with the factor in them.
        forward, backward: the map, and the gradient by the features.
        bias: what is added to every row; None for nothing.
    """

    linear: Linear
    weights: Array
    biases: Array | None
    forward: Matrices
    backward: Matrices
    bias: Array | None


def fold(linear: Linear, context: Context, weights: Array, biases: Array | None, factor: float) -> FoldedLinear:
    """The matrices of a map with these weights times ``factor``; copies, in the dtype of the context."""
    weights = weights.astype(context.dtype, copy=False) * factor
    biases = None if biases is None else biases.astype(context.dtype)
    structure = _structure(linear)
    matrices = []
    for shape, places in zip(structure.shapes, structure.places, strict=True):
        matrix = np.zeros(shape, context.dtype)
        for number, rows, columns in places:
            path = linear.paths[number]
            matrix[rows, columns] += weights[path.weights].reshape(path.shape) * path.factor
        matrices.append(matrix)
    forward = Matrices(structure.forward, tuple(matrices))
    backward = Matrices(structure.backward, tuple(np.ascontiguousarray(matrix.T) for matrix in matrices))
    return FoldedLinear(linear, weights, biases, forward, backward, _bias(linear, context, biases))


class _Structure(NamedTuple):
    """How a map joins its blocks, whatever its weights.

    Attributes:
        shapes: of the matrix of each group.
        places: in each of these matrices: the numbers of its paths, each with its rows and columns.
        forward, backward: the tables of the map, and of its gradient.
    """

    shapes: list[tuple[int, int]]
    places: list[list[tuple[int, slice, slice]]]
    forward: Tables
    backward: Tables


@lru_cache(maxsize=1024)
def _structure(linear: Linear) -> _Structure:
    inputs, outputs = _blocks(linear.irreps_in), _blocks(linear.irreps_out)
    number = list(range(len(inputs) + len(outputs)))  # of the group, by block: outputs come after the inputs
    for path in linear.paths:
        one, other = sorted((number[path.i_in], number[len(inputs) + path.i_out]))
        number = [one if n == other else n for n in number]
    groups, placed = [], []
    for name in sorted({number[path.i_in] for path in linear.paths}):
        ins = [i for i in range(len(inputs)) if number[i] == name]
        outs = [k for k in range(len(outputs)) if number[len(inputs) + k] == name]
        group = Group(tuple(inputs[i] for i in ins), tuple(outputs[k] for k in outs))
        if not prod(group.shape):
            continue
        rows, columns = (_places([block.mul for block in blocks]) for blocks in group)
        groups.append(group)
        placed.append(
            [
                (n, rows[ins.index(path.i_in)], columns[outs.index(path.i_out)])
                for n, path in enumerate(linear.paths)
                if number[path.i_in] == name
            ]
        )
    turned = [Group(group.outputs, group.inputs) for group in groups]
    return _Structure([group.shape for group in groups], placed, make_tables(groups), make_tables(turned))


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


def _places(sizes: Sequence[int]) -> list[slice]:
    """Consecutive slices of these sizes."""
    found, start = [], 0
    for size in sizes:
        found.append(slice(start, start + size))
        start += size
    return found


def multiply(
    context: Context,
    folded: FoldedLinear,
    x: Array,
    out: Array | None,
    threads: int,
    *,
    gradient: bool = False,
) -> Array | None:
    """The map of features of shape ``(..., size)``, or the gradient by them, into ``out`` or a new array.

    None where there are no kernels. The bits do not depend on the number of threads.
    """
    kernels = kernels_of("linear.evaluation")
    if kernels is None:
        return None
    linear, dtype, (tables, matrices) = folded.linear, context.dtype, folded.backward if gradient else folded.forward
    bias = None if gradient or folded.bias is None else folded.bias.astype(dtype, copy=False)
    size = (linear.irreps_in if gradient else linear.irreps_out).dim
    leading = x.shape[:-1]
    count = prod(leading)
    into = out if out is not None and out.flags.c_contiguous else np.empty((*leading, size), dtype)
    rows = np.require(x, dtype, ("C", "A")).reshape(count, x.shape[-1])
    kernels.evaluate(
        tables,
        [matrix.astype(dtype, copy=False) for matrix in matrices],
        bias,
        rows,
        into.reshape(count, size),
        threads,
        spaced=linear.layout == "mul_ir",
    )
    if out is not None and into is not out:
        out[...] = into
    return into if out is None else out
