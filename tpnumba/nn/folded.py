"""The parameters of a network of scalars, as its blocks of rows read them, and the sums of their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tpnumba.backends.namespaces import Context
from tpnumba.nn.matmul import matmul

Array = Any

#: Of each layer, the gradients of its parameters, as far as there are any.
Totals = list[list[Array | None]]


class FoldedLayer(NamedTuple):
    """The parameters of a layer, with every constant factor multiplied into them; ``transposed`` is of the matrix."""

    matrix: Array
    bias: Array | None
    norm_weight: Array | None
    norm_bias: Array | None
    transposed: Array


class FoldedWeights(NamedTuple):
    """What ``MLP.fold`` makes of flat weights; holds for that network alone."""

    network: Any
    layers: tuple[FoldedLayer, ...]


def affine(context: Context, x: Array, layer: FoldedLayer) -> Array:
    """``x W``, and the bias, if there is one."""
    product = matmul(context, x, layer.matrix)
    return product if layer.bias is None else product + layer.bias


def no_totals(layers: Sequence[FoldedLayer]) -> Totals:
    """Nothing yet."""
    return [[None] * 4 for _ in layers]


def add(totals: list[Array | None], number: int, part: Array) -> None:
    """Add to one of the sums."""
    totals[number] = part if totals[number] is None else totals[number] + part


def typed(context: Context, folded: FoldedWeights) -> list[FoldedLayer]:
    """The layers in the dtype of the context."""
    astype = context.xp.astype
    return [
        FoldedLayer(*(None if part is None else astype(part, context.dtype, copy=False) for part in layer))
        for layer in folded.layers
    ]
