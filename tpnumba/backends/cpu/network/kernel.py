"""The kernels of networks of scalars: all layers of some rows forward, and backward with the layers computed again.

Rows are worked ``NETWORK_ROWS`` at a time; what is missing in the last ones are zeros, so that every product has the
same shape, and a row the same bits, wherever it stands. In the tile follow each other, each of ``region`` numbers: the
inputs of the layers and their slopes, two gradients, and then the rows of the output that are not whole.
"""

from __future__ import annotations

from tpnumba.backends.cpu.layout import (
    LINE,
    N_BIAS,
    N_BIAS_SUM,
    N_COLUMNS,
    N_MATRIX,
    N_MATRIX_SUM,
    N_ROWS,
    N_TRANSPOSED,
    NETWORK_ROWS,
)
from tpnumba.backends.cpu.runtime.compiler import jit, part
from tpnumba.backends.cpu.simd.functions import silu, silu_with_slope
from tpnumba.backends.cpu.simd.matrices import add_outer_product, multiply
from tpnumba.backends.cpu.simd.memory import address_of, copy_numbers, read, write
from tpnumba.backends.cpu.simd.vectors import multiply as multiply_columns

_ONE = (0,)


@jit
def evaluate_rows(tile, gemm, layers, region, activated, x, x_stride, out, out_stride, start, stop):
    """Write the outputs of the rows from ``start`` to ``stop``.

    Args:
        tile: memory to work in, aligned to 64 bytes.
        gemm: the address of BLAS's product.
        layers: a row each, see :mod:`tpnumba.backends.cpu.layout`.
        region: numbers of a part of the tile.
        activated: whether silu stands between layers; nothing otherwise.
        x, out: the addresses of the first rows; strides in numbers.
        start, stop: the rows.
    """
    item, last = tile.itemsize, layers.shape[0] - 1
    size, columns = layers[0, N_ROWS], layers[last, N_COLUMNS]
    for first in range(start, stop, NETWORK_ROWS):
        count = min(NETWORK_ROWS, stop - first)
        _load(tile, address_of(tile, 0), x + first * x_stride * item, x_stride, size, count)
        for i in range(last):
            _enter(tile, gemm, layers[i], i * region, (i + 1) * region)
            if activated:
                for place in range(
                    (i + 1) * region, (i + 1) * region + NETWORK_ROWS * layers[i, N_COLUMNS], LINE // item
                ):
                    silu(tile, place)
        to, stride = out + first * out_stride * item, out_stride
        if count < NETWORK_ROWS:
            to, stride = address_of(tile, (last + 1) * region), columns
        _apply(tile, gemm, layers[last], address_of(tile, last * region), to, stride)
        if count < NETWORK_ROWS:
            _copy_rows(tile, out + first * out_stride * item, out_stride, to, columns, columns, count)


@jit
def pull_rows(tile, gemm, layers, region, activated, x, x_stride, g, g_stride, result, start, stop):
    """Write the gradients by the rows from ``start`` to ``stop``, and add those by matrices and biases, if asked for.

    Args:
        g: the address of the cotangent's first row.
        result: of the gradient by ``x``, whose rows follow each other.

    The others are those of :func:`evaluate_rows`.
    """
    item, last = tile.itemsize, layers.shape[0] - 1
    size, columns = layers[0, N_ROWS], layers[last, N_COLUMNS]
    slopes, gradients = (last + 1) * region, (2 * last + 1) * region
    for first in range(start, stop, NETWORK_ROWS):
        count = min(NETWORK_ROWS, stop - first)
        _load(tile, address_of(tile, 0), x + first * x_stride * item, x_stride, size, count)
        for i in range(last):
            _enter(tile, gemm, layers[i], i * region, (i + 1) * region)
            if activated:
                for n in range(0, NETWORK_ROWS * layers[i, N_COLUMNS], LINE // item):
                    silu_with_slope(tile, (i + 1) * region + n, slopes + i * region + n)
        here, stride = g + first * g_stride * item, g_stride
        if count < NETWORK_ROWS:
            place = address_of(tile, gradients + 2 * region)
            _load(tile, place, here, g_stride, columns, count)
            here, stride = place, columns
        for i in range(last, -1, -1):
            rows, columns_here = layers[i, N_ROWS], layers[i, N_COLUMNS]
            if layers[i, N_MATRIX_SUM] != 0:
                left, sums = address_of(tile, i * region), layers[i, N_MATRIX_SUM]
                add_outer_product(tile, gemm, left, here, stride, sums, rows, columns_here, NETWORK_ROWS)
                if layers[i, N_BIAS_SUM] != 0:
                    _add_rows(tile, layers[i, N_BIAS_SUM], here, stride, columns_here)
            place = gradients + (i % 2) * region
            to = address_of(tile, place)
            right = layers[i, N_TRANSPOSED]
            multiply(tile, gemm, here, stride, right, rows, to, rows, NETWORK_ROWS, rows, columns_here, False)
            if i > 0 and activated:
                for n in range(0, NETWORK_ROWS * rows, LINE // item):
                    multiply_columns(_ONE, tile, place + n, place + n, slopes + (i - 1) * region + n)
            here, stride = to, rows
        _copy_rows(tile, result + first * size * item, size, here, size, size, count)


@part
def _enter(tile, gemm, layer, source, to):
    """The numbers before the activation of a layer, from a place in the tile to a place there."""
    _apply(tile, gemm, layer, address_of(tile, source), address_of(tile, to), layer[N_COLUMNS])


@jit
def _apply(tile, gemm, layer, source, to, stride):
    """``to = source @ matrix``, plus the bias, if there is one."""
    item, rows, columns = tile.itemsize, layer[N_ROWS], layer[N_COLUMNS]
    if layer[N_BIAS] != 0:
        for i in range(NETWORK_ROWS):
            copy_numbers(tile, to + i * stride * item, layer[N_BIAS], columns)
    biased = layer[N_BIAS] != 0
    matrix = layer[N_MATRIX]
    multiply(tile, gemm, source, rows, matrix, columns, to, stride, NETWORK_ROWS, columns, rows, biased)


@jit
def _load(tile, to, address, stride, size, count):
    """``count`` rows one after the other, and zeros up to ``NETWORK_ROWS``."""
    item = tile.itemsize
    _copy_rows(tile, to, size, address, stride, size, count)
    for n in range(count * size, NETWORK_ROWS * size):
        write(tile, to + n * item, tile.dtype.type(0))


@jit
def _copy_rows(tile, to, to_stride, address, stride, size, count):
    """Copy rows of ``size`` numbers from address to address."""
    for i in range(count):
        copy_numbers(tile, to + i * to_stride * tile.itemsize, address + i * stride * tile.itemsize, size)


@jit
def _add_rows(tile, to, address, stride, size):
    """Add the sum of ``NETWORK_ROWS`` rows to a row."""
    item = tile.itemsize
    for j in range(size):
        total = read(tile, address + j * item)
        for i in range(1, NETWORK_ROWS):
            total += read(tile, address + (i * stride + j) * item)
        write(tile, to + j * item, read(tile, to + j * item) + total)
