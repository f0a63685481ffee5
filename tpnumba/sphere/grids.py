"""Synthesis and analysis: from coefficients of spherical harmonics to values on a grid, and back."""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod
from typing import Any

from tpnumba.backends import evaluate
from tpnumba.backends.adapters.dask import map_samples
from tpnumba.backends.batching import map_rows
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import Context, common_context, is_lazy
from tpnumba.backends.registry import check_backend, resolve_threads
from tpnumba.irreps import check_degree
from tpnumba.limits import require_memory
from tpnumba.plans.methods import Methods
from tpnumba.plans.synthesis import Synthesis
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS
from tpnumba.tables.quadrature import Grid

Array = Any


def to_grid(
    x: Array,
    lmax: int,
    grid: Grid,
    *,
    normalization: str = "integral",
    backend: str = "auto",
    num_threads: int | None = None,
) -> Array:
    """Synthesis: the values of ``f(s) = sum of x_lm Y_lm(s)`` at the points of a grid.

    Separable, O(lmax^3) a sample: Legendre functions for each order, then a Fourier transform on each ring. Linear; its
    transpose is ``g -> from_grid(g / grid.weights)`` with ``normalization="integral"``.

    Args:
        x: coefficients, shape ``(..., (lmax + 1)**2)``, float32 or float64, in the order of
            :class:`tpnumba.SphericalHarmonics` (:func:`tpnumba.convert` reads other conventions).
        lmax: the largest degree.
        grid: any grid; ``Grid.exact(2 * lmax)`` is the smallest from which ``x`` can be had back.
        normalization: of the harmonics: ``integral``, ``component`` or ``norm``.
        backend, num_threads: as for products.

    The result is a plain array, which does not say on which grid it lives: two grids of the same shape, this one's and
    another library's, cannot be told apart afterwards. Keep the grid beside it.

    Returns:
        Shape ``(..., n_beta, n_alpha)``, in the namespace, on the device and in the dtype of ``x``; the value at
        ``grid.points()[b, a]`` stands at ``[..., b, a]``.

    Raises:
        TypeError: ``x`` is no array in float32 or float64, ``lmax`` no integer, ``grid`` no :class:`tpnumba.Grid`.
        ValueError: a shape, degree or name that does not fit.
        MemoryError: the result, or the Legendre functions, would not fit; the size is named.
        RuntimeError: a backend that is not there.

    Example:
        >>> import numpy as np
        >>> grid = Grid.exact(2)
        >>> f = to_grid(np.array([0.0, 0.0, 1.0, 0.0]), 1, grid, normalization="norm")  # f(x, y, z) = y
        >>> bool(np.allclose(f, grid.points()[..., 1]))
        True
    """
    context, lmax, threads = _check(x, "x", lmax, grid, normalization, backend, num_threads)
    if x.ndim == 0 or x.shape[-1] != (lmax + 1) ** 2:
        raise ValueError(
            f"x must have shape (..., {(lmax + 1) ** 2}), (lmax + 1)**2 for lmax = {lmax}, got {tuple(x.shape)}"
        )
    if is_lazy(context.xp):
        of_chunk = partial(to_grid, lmax=lmax, grid=grid, normalization=normalization, backend=backend)
        return map_samples(of_chunk, [(x, 1)], x.ndim - 1, grid.shape)
    leading = tuple(x.shape[:-1])
    _require_memory((*leading, *grid.shape), lmax, grid, context)
    if 0 in leading:  # no tables for nothing
        return context.xp.zeros((*leading, *grid.shape), dtype=context.dtype, device=context.device)
    methods = _methods(lmax, grid, normalization, analysis=False)
    (values,) = evaluate(Call(methods, (0,), leading, leading, context, backend, threads, ("x",)), (x,))
    return context.xp.reshape(values, (*leading, *grid.shape))


def from_grid(
    f: Array,
    lmax: int,
    grid: Grid,
    *,
    normalization: str = "integral",
    backend: str = "auto",
    num_threads: int | None = None,
) -> Array:
    """Analysis: the coefficients ``x_lm`` up to ``lmax`` of a function given on a grid.

    By quadrature, ``x_lm = sum over points of weight * f * Y_lm`` (for orthonormal ``Y``), separable as
    :func:`to_grid`. Without error if ``grid.exactness >= lmax + (degree of f)``; of a function of higher degree, what
    lies above that leaks into the result.

    Warning:
        Only the shape of ``f`` can be checked. Values on other points of the same shape (equiangular rings, as of a
        map of latitudes and longitudes; another polar axis; rings in falling order; HEALPix) are not noticed, and give
        wrong coefficients. Compare with ``grid.points()``, or interpolate to these first.

    Args:
        f: values at ``grid.points()``, shape ``(..., n_beta, n_alpha)``, float32 or float64.
        lmax: the largest degree of the result.
        grid: the grid, with ``grid.exactness >= 2 * lmax``, such as ``Grid.exact(2 * lmax)``.
        normalization, backend, num_threads: as for :func:`to_grid`.

    Returns:
        Shape ``(..., (lmax + 1)**2)``, in the namespace, on the device and in the dtype of ``f``.

    Raises:
        TypeError, MemoryError, RuntimeError: as :func:`to_grid`.
        ValueError: a shape, degree or name that does not fit, or a grid too coarse for ``lmax``.

    Example:
        >>> import numpy as np
        >>> grid = Grid.exact(4)
        >>> x, y, z = np.moveaxis(grid.points(), -1, 0)
        >>> np.round(from_grid(1 + 2 * y, 1, grid, normalization="norm"), 12) + 0.0
        array([1., 0., 2., 0.])
    """
    context, lmax, threads = _check(f, "f", lmax, grid, normalization, backend, num_threads)
    if grid.exactness < 2 * lmax:
        raise ValueError(
            f"grid must integrate harmonics up to degree 2 lmax = {2 * lmax} without error, as {Grid.exact(2 * lmax)}"
            f" does; got {grid}, exact up to degree {grid.exactness}"
        )
    if tuple(f.shape[-2:]) != grid.shape:
        raise ValueError(f"f must have shape (..., {grid.n_beta}, {grid.n_alpha}) for {grid}, got {tuple(f.shape)}")
    size = (lmax + 1) ** 2
    if is_lazy(context.xp):
        of_chunk = partial(from_grid, lmax=lmax, grid=grid, normalization=normalization, backend=backend)
        return map_samples(of_chunk, [(f, 2)], f.ndim - 2, (size,))
    _require_memory((*f.shape[:-2], size), lmax, grid, context)
    if 0 in f.shape[:-2]:
        return context.xp.zeros((*f.shape[:-2], size), dtype=context.dtype, device=context.device)
    methods = _methods(lmax, grid, normalization, analysis=True)

    def analyse(rows: Array) -> Array:
        samples = tuple(rows.shape[:-1])
        return evaluate(Call(methods, (1,), samples, samples, context, backend, threads), (rows,))[0]

    if _has_contiguous_maps(f):
        return analyse(context.xp.reshape(f, (*f.shape[:-2], grid.n_beta * grid.n_alpha)))
    return map_rows(analyse, f, grid.shape, (size,), context)


def _has_contiguous_maps(f: Array) -> bool:
    """Whether the rings of each map follow each other in memory, as far as the namespace tells."""
    strides = getattr(f, "strides", None)
    if strides is None:
        strides = f.stride() if hasattr(f, "stride") else None
    return strides is None or strides[-2] == strides[-1] * f.shape[-1]


@lru_cache(maxsize=256)
def _methods(lmax: int, grid: Grid, normalization: str, *, analysis: bool) -> Methods:
    return Methods((("grid", Synthesis.between(lmax, grid, normalization, analysis=analysis)),))


def _check(
    array: Array, name: str, lmax: int, grid: Grid, normalization: str, backend: str, num_threads: int | None
) -> tuple[Context, int, int | None]:
    context = common_context({name: array}, core=2 if name == "f" else 1)
    lmax = check_degree("lmax", lmax)
    if not isinstance(grid, Grid):
        raise TypeError(f"grid must be a tpnumba.Grid, got {grid!r} of type {type(grid).__name__}")
    check_choice("normalization", normalization, NORMALIZATIONS)
    check_backend(backend)
    return context, lmax, resolve_threads(num_threads)


def _require_memory(shape: tuple[int, ...], lmax: int, grid: Grid, context: Context) -> None:
    require_memory(prod(shape) * context.itemsize, f"a result of shape {shape}")
    if prod(shape):
        # P[l, m, ring], and the same again for m <= l sorted by order
        legendre = 8 * (lmax + 1) ** 2 * grid.n_beta * 3 // 2
        # the nodes are the eigenvalues of a square matrix
        nodes = 2 * 8 * grid.n_beta**2
        require_memory(legendre + nodes, f"the Legendre functions up to degree {lmax} on {grid.n_beta} rings")
