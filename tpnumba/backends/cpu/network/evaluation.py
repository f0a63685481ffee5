"""Networks of scalars on rows of memory: the table of layers, and rows shared by threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.backends.cpu import layout
from tpnumba.backends.cpu.network import kernel
from tpnumba.backends.cpu.runtime.blas import gemm_address
from tpnumba.backends.cpu.runtime.threads import share
from tpnumba.backends.cpu.runtime.workspace import address_of, workspace

Array = npt.NDArray[np.floating]

#: Rows that a thread takes at a time: about a millisecond of work for a radial network.
_CHUNK = 4 * layout.NETWORK_ROWS
#: For the gradients of the weights, rows are summed in at most this many groups, each of which one thread works.
_GROUPS = 16


class Layer(NamedTuple):
    """A layer: its matrix ``(in, out)``, the transpose of that, and a bias or None; contiguous arrays of one dtype."""

    matrix: Array
    transposed: Array
    bias: Array | None


def evaluate(layers: Sequence[Layer], x: Array, out: Array, threads: int, *, activated: bool) -> None:
    """Write the outputs of the rows of ``x``.

    Args:
        layers: of the network.
        x, out: rows of the dtype of the layers, the numbers of which follow each other.
        threads: that share the rows; the bits do not depend on it.
        activated: whether silu stands between layers; nothing otherwise.
    """
    table, region = _table(layers, None)
    size = len(layers) * region + layout.NETWORK_ROWS * out.shape[1]
    gemm, item = gemm_address(str(out.dtype)), out.itemsize

    def work(i: int) -> None:
        kernel.evaluate_rows(
            workspace(size, out.dtype),
            gemm,
            table,
            region,
            activated,
            address_of(x),
            x.strides[0] // item,
            address_of(out),
            out.strides[0] // item,
            i * _CHUNK,
            min((i + 1) * _CHUNK, out.shape[0]),
        )

    share(work, -(-out.shape[0] // _CHUNK), threads)


def pull(
    layers: Sequence[Layer],
    x: Array,
    cotangent: Array,
    result: Array,
    threads: int,
    *,
    activated: bool,
    of_layers: bool,
) -> list[tuple[Array, Array]]:
    """Write the gradient by ``x``; gives those by matrices and biases of all layers, if ``of_layers``.

    Args:
        cotangent: a row each, as ``out`` of :func:`evaluate`.
        result: of the shape of ``x``, contiguous.

    The others are those of :func:`evaluate`.
    """
    count, size, item = x.shape[0], x.shape[1], x.itemsize
    chunks = -(-count // _CHUNK)
    # Sums are those of groups that depend on the number of chunks alone, added in order.
    groups = min(chunks, _GROUPS) if of_layers else chunks
    totals = [_zeros(layers) for _ in range(groups if of_layers else 0)]
    table, region = _table(layers, None)
    needed = (2 * len(layers) + 1) * region + layout.NETWORK_ROWS * cotangent.shape[1]
    gemm = gemm_address(str(x.dtype))

    def work(group: int) -> None:
        own = _table(layers, totals[group])[0] if of_layers else table
        for i in range(group * chunks // groups, (group + 1) * chunks // groups):
            kernel.pull_rows(
                workspace(needed, x.dtype),
                gemm,
                own,
                region,
                activated,
                address_of(x),
                x.strides[0] // item,
                address_of(cotangent),
                cotangent.strides[0] // item,
                address_of(result),
                i * _CHUNK,
                min((i + 1) * _CHUNK, count),
            )

    assert result.strides[0] == size * item or count < 2
    share(work, groups, threads)
    if not of_layers:
        return []
    whole = _zeros(layers)
    for group_totals in totals:
        for into, added in zip(whole, group_totals, strict=True):
            for sums, of_group in zip(into, added, strict=True):
                np.add(sums, of_group, out=sums)
    return whole


def _zeros(layers: Sequence[Layer]) -> list[tuple[Array, Array]]:
    """Sums of the gradients of matrices and biases, of nothing yet."""
    return [(np.zeros_like(layer.matrix), np.zeros(layer.matrix.shape[1], layer.matrix.dtype)) for layer in layers]


def _table(layers: Sequence[Layer], sums: Sequence[tuple[Array, Array]] | None) -> tuple[npt.NDArray[np.int64], int]:
    """The table of layers, and the numbers of a region of the tile."""
    table = np.zeros((len(layers), layout.LAYER_FIELDS), np.int64)
    for row, layer in zip(table, layers, strict=True):
        row[layout.N_MATRIX], row[layout.N_TRANSPOSED] = address_of(layer.matrix), address_of(layer.transposed)
        row[layout.N_BIAS] = 0 if layer.bias is None else address_of(layer.bias)
        row[layout.N_ROWS], row[layout.N_COLUMNS] = layer.matrix.shape
    for row, layer, (of_matrix, of_bias) in zip(table, layers, sums or [], strict=False):
        row[layout.N_MATRIX_SUM] = address_of(of_matrix)
        row[layout.N_BIAS_SUM] = 0 if layer.bias is None else address_of(of_bias)
    return table, layout.NETWORK_ROWS * int(table[:, layout.N_ROWS].max())
