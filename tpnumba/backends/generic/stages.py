"""Linear maps and their transposes on any namespace, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.backends.namespaces import Context, constant
from tpnumba.plans import stages as plan_stages

Array = Any

#: A sparse stage with fewer than ``_ZEROS`` zeros for each non-zero is evaluated as a dense matrix, if that is small: a
#: multiplication in a matrix product takes about a fiftieth of the time of one in a gather.
_ZEROS = 40
_DENSE = 2**20


def apply(linear_map: plan_stages.LinearMap, context: Context, rows: Array) -> Array:
    """From ``(n, components)`` to the domain: ``(n, n_alpha, n_beta)`` on a grid, ``(n, numbers)`` as a matrix."""
    value = rows
    for stage in linear_map.stages:
        value = _RUN[type(stage)][0](stage, context, value)
    return value


def transpose(linear_map: plan_stages.LinearMap, context: Context, field: Array) -> Array:
    """From the domain to ``(n, components)``."""
    value = field
    for stage in reversed(linear_map.stages):
        value = _RUN[type(stage)][1](stage, context, value)
    return value


def _select(stage: plan_stages.Selection, _: Context, value: Array) -> Array:
    return value[:, stage.start : stage.stop]


def _deselect(stage: plan_stages.Selection, context: Context, value: Array) -> Array:
    xp, device, dtype = context
    n = value.shape[0]
    around = [xp.zeros((n, width), dtype=dtype, device=device) for width in (stage.start, stage.size - stage.stop)]
    return xp.concat([around[0], value, around[1]], axis=1)


def _pick(stage: plan_stages.Blocks, context: Context, value: Array) -> Array:
    return context.xp.take(value, constant(context, stage.places), axis=1) * constant(context, stage.scales)


def _put(stage: plan_stages.Blocks, context: Context, value: Array) -> Array:
    return put_blocks({stage: value * constant(context, stage.scales)}, context)


def put_blocks(values: Mapping[plan_stages.Blocks, Array], context: Context) -> Array:
    """The operand with these numbers in its blocks, their factors being done; no two may share a component."""
    xp, device, dtype = context
    parts = [*values.values(), xp.zeros((next(iter(values.values())).shape[0], 1), dtype=dtype, device=device)]
    return xp.take(xp.concat(parts, axis=1), constant(context, _sources(tuple(values))), axis=1)


@lru_cache(maxsize=64)
def _sources(blocks: tuple[plan_stages.Blocks, ...]) -> npt.NDArray[np.int64]:
    """Where each component of the operand stands in the blocks one after the other; behind them if in none."""
    places = np.concatenate([stage.places for stage in blocks])
    assert np.unique(places).size == places.size
    sources = np.full(blocks[0].size, places.size, dtype=np.int64)
    sources[places] = np.arange(places.size)
    return sources


def _scale(stage: plan_stages.DegreeScaling, context: Context, value: Array) -> Array:
    return value * constant(context, stage.factors)


def _to_orders(stage: plan_stages.LegendreStage, context: Context, value: Array) -> Array:
    xp, n = context.xp, value.shape[0]
    parts = []
    for columns, matrix in stage.orders:
        picked = xp.take(value, constant(context, columns.ravel()), axis=1)
        flat = xp.reshape(picked, (n * columns.shape[0], columns.shape[1]))
        parts.append(xp.reshape(flat @ constant(context, matrix), (n, columns.shape[0], stage.n_beta)))
    return xp.concat(parts, axis=1)


def _from_orders(stage: plan_stages.LegendreStage, context: Context, value: Array) -> Array:
    xp, device, dtype = context
    n = value.shape[0]
    parts, start = [], 0
    for columns, matrix in stage.orders:
        count = columns.shape[0]
        flat = xp.reshape(value[:, start : start + count, :], (n * count, stage.n_beta))
        product = flat @ constant(context, np.ascontiguousarray(matrix.T))
        parts.append(xp.reshape(product, (n, columns.size)))
        start += count
    parts.append(xp.zeros((n, 1), dtype=dtype, device=device))
    return xp.take(xp.concat(parts, axis=1), constant(context, stage.scatter), axis=1)


def _to_longitudes(stage: plan_stages.FourierStage, context: Context, value: Array) -> Array:
    xp = context.xp
    if stage.kind != "fast":
        return xp.matmul(constant(context, np.ascontiguousarray(stage.matrix.T)), value)
    cosines, sines = _order_places(stage.m_max)
    # sum of a cos(m alpha) + b sin(m alpha) is the real part of sum (a - i b) e^(i m alpha)
    real = xp.take(value, constant(context, cosines), axis=1)
    padded = xp.concat([xp.zeros_like(value[:, :1, :]), value], axis=1)
    imaginary = xp.take(padded, constant(context, sines), axis=1)
    halves = constant(context, np.where(cosines == 0, 1.0, 0.5)[:, None])
    spectrum = _complex(xp, real * halves, -imaginary * halves)
    return xp.fft.irfft(spectrum, n=stage.n_alpha, axis=1, norm="forward")


def _from_longitudes(stage: plan_stages.FourierStage, context: Context, value: Array) -> Array:
    xp = context.xp
    if stage.kind != "fast":
        return xp.matmul(constant(context, stage.matrix), value)
    spectrum = xp.fft.rfft(value, axis=1)[:, : stage.m_max + 1, :]
    both = xp.concat([xp.real(spectrum), -xp.imag(spectrum)], axis=1)
    cosines, sines = _order_places(stage.m_max)
    places = np.zeros(2 * stage.m_max + 1, dtype=np.int64)
    places[cosines] = np.arange(stage.m_max + 1)
    places[sines[1:] - 1] = stage.m_max + 1 + np.arange(1, stage.m_max + 1)
    return xp.take(both, constant(context, places), axis=1)


@lru_cache(maxsize=64)
def _order_places(m_max: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Where the cosine of each m stands among the orders ``0, +1, -1, ...``, and its sine, counted from one."""
    m = np.arange(m_max + 1)
    return np.maximum(2 * m - 1, 0), np.where(m == 0, 0, 2 * m + 1)


def _to_theta(stage: plan_stages.ThetaStage, context: Context, value: Array) -> Array:
    xp = context.xp
    even, odd = _theta_factors(stage)
    # The real part of sum c e^(i u theta) for even orders, of sum -i c e^(i u theta) for odd ones.
    spectrum = _complex(xp, value * constant(context, even), value * constant(context, -odd))
    return xp.fft.irfft(spectrum, n=stage.n_theta, axis=2, norm="forward")


def _from_theta(stage: plan_stages.ThetaStage, context: Context, value: Array) -> Array:
    xp = context.xp
    even, odd = (np.where(factors != 0, 1.0, 0.0) for factors in _theta_factors(stage))
    spectrum = xp.fft.rfft(value, axis=2)[:, :, : stage.count]
    return xp.real(spectrum) * constant(context, even) - xp.imag(spectrum) * constant(context, odd)


@lru_cache(maxsize=64)
def _theta_factors(stage: plan_stages.ThetaStage) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Factors of the spectrum: for the rows of even orders, and for those of odd ones, shape ``(orders, count)``."""
    orders = (np.arange(2 * stage.m_max + 1) + 1) // 2
    halves = np.where(np.arange(stage.count) == 0, 1.0, 0.5)
    even = (orders % 2 == 0)[:, None] * halves
    odd = (orders % 2 == 1)[:, None] * halves
    odd[:, 0] = 0.0  # there is no sine of zero
    return even, odd


def _complex(xp: Any, real: Array, imaginary: Array) -> Array:
    kind = xp.complex64 if real.dtype == xp.float32 else xp.complex128
    return xp.astype(real, kind) + xp.astype(imaginary, kind) * 1j


def _sparse(stage: plan_stages.SparseStage, context: Context, value: Array) -> Array:
    if _is_dense(stage):
        return value @ constant(context, _dense(stage).T)
    return _gather(context, value, *_padded(stage, 0))


def _is_dense(stage: plan_stages.SparseStage) -> bool:
    table = stage.sparse
    return table.shape[0] * table.shape[1] <= min(_ZEROS * table.values.size, _DENSE)


def _sparse_transpose(stage: plan_stages.SparseStage, context: Context, value: Array) -> Array:
    if _is_dense(stage):
        return value @ constant(context, _dense(stage))
    return _gather(context, value, *_padded(stage, 1))


def _gather(context: Context, value: Array, places: npt.NDArray[Any], factors: npt.NDArray[Any]) -> Array:
    """Sum the few numbers that each result needs, one of all results at a time."""
    total = None
    for place, factor in zip(places, factors, strict=True):
        part = context.xp.take(value, constant(context, place), axis=1) * constant(context, factor)
        total = part if total is None else total + part
    return total


@lru_cache(maxsize=64)
def _dense(stage: plan_stages.SparseStage) -> npt.NDArray[np.float64]:
    matrix = np.zeros(stage.sparse.shape)
    matrix[tuple(stage.sparse.coords)] = stage.sparse.values
    return matrix


@lru_cache(maxsize=64)
def _padded(stage: plan_stages.SparseStage, axis: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """For each place along ``axis`` of the matrix its non-zeros, padded with zeros to as many as the fullest has."""
    table = stage.sparse
    keys, others = table.coords[axis], table.coords[1 - axis]
    order = np.argsort(keys, kind="stable")
    keys, others, values = keys[order], others[order], table.values[order]
    counts = np.bincount(keys, minlength=table.shape[axis])
    rank = np.arange(keys.size) - np.repeat(np.cumsum(counts) - counts, counts)
    places = np.zeros((max(1, counts.max(initial=0)), table.shape[axis]), dtype=np.int64)
    factors = np.zeros(places.shape)
    places[rank, keys] = others
    factors[rank, keys] = values
    return places, factors


_Run = Callable[[Any, Context, Array], Array]
_RUN: dict[type[plan_stages.Stage], tuple[_Run, _Run]] = {
    plan_stages.Selection: (_select, _deselect),
    plan_stages.Blocks: (_pick, _put),
    plan_stages.DegreeScaling: (_scale, _scale),
    plan_stages.SparseStage: (_sparse, _sparse_transpose),
    plan_stages.LegendreStage: (_to_orders, _from_orders),
    plan_stages.FourierStage: (_to_longitudes, _from_longitudes),
    plan_stages.ThetaStage: (_to_theta, _from_theta),
}
