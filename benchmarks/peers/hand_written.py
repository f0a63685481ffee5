"""NumPy as one writes it by hand: for each pair of blocks an outer product, then one matrix product for all its paths.

The coefficients are tpnumba's; the arithmetic is not. The Gaunt product goes to a grid and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

import tpnumba as tp
from benchmarks.peers import Run
from benchmarks.peers.grids import dense_grid, smallest_grid
from benchmarks.product_works import Operands, ProductWork
from benchmarks.works import Task

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class _Pair:
    """All paths of a block of in1 and a block of in2.

    ``matrix`` has a row for each (component of in1, component of in2), a column for each component of each path;
    ``parts`` has for each path its columns in ``matrix``, in the output, and in the weights, and its multiplicity out.
    """

    in1: slice
    in2: slice
    mul: int
    matrix: Array
    parts: tuple[tuple[slice, slice, slice, int], ...]

    def outer(self, x1: Array, x2: Array) -> Array:
        """Shape ``(samples, mul, d1 * d2)``."""
        u = x1[:, self.in1].reshape(len(x1), self.mul, -1, 1)
        v = x2[:, self.in2].reshape(len(x2), 1, 1, -1)
        return np.multiply(u, v).reshape(len(x1), self.mul, -1)


def prepare(work: ProductWork, operands: Operands) -> Run:
    """See :mod:`benchmarks.peers`."""
    if work.kind == "gaunt":
        return _gaunt(work, operands)
    product, dtype = work.product, work.dtype
    if any(mul != 1 for mul, _ in product.irreps_in2):
        raise AssertionError("every work has multiplicity 1 in the second input")
    pairs = _pairs(work, dtype)
    forward = {"full": _full, "channelwise": _channelwise, "connected": _connected}[work.kind]
    backward = {"full": _full_backward, "channelwise": _channelwise_backward}.get(work.kind)
    shape = (work.batch, product.irreps_out.dim)

    def make() -> Array:
        # Only the fully connected product adds to what is there.
        return np.zeros(shape, dtype) if work.kind == "connected" else np.empty(shape, dtype)

    def gradients() -> tuple[Array, ...]:
        assert backward is not None
        return backward(pairs, operands)

    if work.task is Task.BACKWARD:
        return Run(gradients)
    kept = make()

    def call() -> tuple[Array, ...]:
        return (forward(pairs, operands, make()), *(gradients() if work.task is Task.BOTH else ()))

    def into() -> tuple[Array, ...]:
        if work.kind == "connected":
            kept.fill(0)
        return (forward(pairs, operands, kept), *(gradients() if work.task is Task.BOTH else ()))

    return Run(call, into=into)


def _gaunt(work: ProductWork, given: Operands) -> Run:
    in1, in2, out = dense_grid(work, smallest_grid(work))
    if work.task is Task.FORWARD:
        kept = np.empty((work.batch, len(out)), work.dtype)

        def forward(target: Array | None = None) -> tuple[Array, ...]:
            values = given.x1 @ in1
            values *= given.x2 @ in2
            return (np.matmul(values, out.T, out=target),)

        return Run(forward, into=lambda: forward(kept))

    def backward() -> tuple[Array, ...]:
        assert given.cotangent is not None
        values = given.cotangent @ out
        return (values * (given.x2 @ in2)) @ in1.T, (values * (given.x1 @ in1)) @ in2.T

    return Run(backward)


def _pairs(work: ProductWork, dtype: str) -> list[_Pair]:
    p = work.product
    slices = [irreps.slices() for irreps in (p.irreps_in1, p.irreps_in2, p.irreps_out)]
    numbered, start = [], 0
    for path in p.paths:
        mul = p.irreps_in1[path.i1].mul
        count = mul * (p.irreps_out[path.i_out].mul if work.kind == "connected" else 1)
        numbered.append((path, slice(start, start + count)))
        start += count
    # Weights follow the paths, which for the channelwise product follow the output.
    pairs = []
    by_pair = sorted(numbered, key=lambda entry: (entry[0].i1, entry[0].i2))
    for (i1, i2), group in groupby(by_pair, key=lambda entry: (entry[0].i1, entry[0].i2)):
        blocks, parts, column = [], [], 0
        for path, weights in group:
            l1, l2, l3 = path.ir1.l, path.ir2.l, path.ir_out.l
            blocks.append(path.scale * tp.clebsch_gordan(l1, l2, l3).reshape(-1, 2 * l3 + 1))
            place, mul = slice(column, column + 2 * l3 + 1), p.irreps_out[path.i_out].mul
            parts.append((place, slices[2][path.i_out], weights, mul))
            column = place.stop
        matrix = np.concatenate(blocks, axis=1).astype(dtype)
        pairs.append(_Pair(slices[0][i1], slices[1][i2], p.irreps_in1[i1].mul, matrix, tuple(parts)))
    return pairs


def _full(pairs: list[_Pair], given: Operands, out: Array) -> Array:
    for pair in pairs:
        result = pair.outer(given.x1, given.x2)[:, 0] @ pair.matrix
        for columns, place, _, _ in pair.parts:
            out[:, place] = result[:, columns]
    return out


def _full_backward(pairs: list[_Pair], given: Operands) -> tuple[Array, Array]:
    assert given.cotangent is not None
    g1, g2 = np.zeros_like(given.x1), np.zeros_like(given.x2)
    for pair in pairs:
        gathered = np.concatenate([given.cotangent[:, place] for _, place, _, _ in pair.parts], axis=1)
        x1, x2 = given.x1[:, pair.in1], given.x2[:, pair.in2]
        outer = (gathered @ pair.matrix.T).reshape(len(x1), x1.shape[1], x2.shape[1])
        g1[:, pair.in1] += (outer @ x2[:, :, None])[:, :, 0]
        g2[:, pair.in2] += (x1[:, None, :] @ outer)[:, 0, :]
    return g1, g2


def _channelwise(pairs: list[_Pair], given: Operands, out: Array) -> Array:
    assert given.weights is not None
    for pair in pairs:
        result = pair.outer(given.x1, given.x2) @ pair.matrix
        for columns, place, weights, _ in pair.parts:
            target = out[:, place].reshape(len(out), pair.mul, -1)  # a view
            np.multiply(result[:, :, columns], given.weights[:, weights, None], out=target)
    return out


def _channelwise_backward(pairs: list[_Pair], given: Operands) -> tuple[Array, Array, Array]:
    assert given.weights is not None
    assert given.cotangent is not None
    g1, g2, gw = np.zeros_like(given.x1), np.zeros_like(given.x2), np.empty_like(given.weights)
    for pair in pairs:
        result = pair.outer(given.x1, given.x2) @ pair.matrix
        gathered = np.empty_like(result)
        for columns, place, weights, _ in pair.parts:
            g = given.cotangent[:, place].reshape(len(g1), pair.mul, -1)
            np.einsum("nuk,nuk->nu", g, result[:, :, columns], out=gw[:, weights])
            np.multiply(g, given.weights[:, weights, None], out=gathered[:, :, columns])
        x2 = given.x2[:, pair.in2]
        x1 = given.x1[:, pair.in1].reshape(len(g1), pair.mul, -1)
        outer = (gathered @ pair.matrix.T).reshape(*x1.shape, x2.shape[1])
        flat = outer.reshape(len(g1), -1, x2.shape[1])
        g1[:, pair.in1] += (flat @ x2[:, :, None])[:, :, 0]
        g2[:, pair.in2] += (x1.reshape(len(g1), 1, -1) @ flat)[:, 0]
    return g1, g2, gw


def _connected(pairs: list[_Pair], given: Operands, out: Array) -> Array:
    assert given.weights is not None
    for pair in pairs:
        result = pair.outer(given.x1, given.x2) @ pair.matrix
        for columns, place, weights, mul in pair.parts:
            matrix = given.weights[..., weights].reshape(*given.weights.shape[:-1], pair.mul, mul)
            part = result[:, :, columns]
            target = out[:, place].reshape(len(out), mul, -1)
            if matrix.ndim == 2:  # (samples, k, u) times (u, w)
                target += (np.ascontiguousarray(part.swapaxes(1, 2)) @ matrix).swapaxes(1, 2)
            else:  # (samples, w, u) times (samples, u, k)
                target += matrix.swapaxes(1, 2) @ part
    return out
