"""From a table of path weights of the complete product to a low-rank product that comes near it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isfinite
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import check_degree
from tpnumba.limits import require_memory
from tpnumba.products.degrees import normalised
from tpnumba.products.instructions import check_choice
from tpnumba.products.low_rank import LowRankTensorProduct
from tpnumba.products.polyadic import Factors, MaskedTable, decompose, decompositions, joint_bytes
from tpnumba.tables.clebsch_gordan import check_triple
from tpnumba.tables.couplings import NORMALIZATIONS, bracket_coupling, gaunt_coupling

Floats = npt.NDArray[np.float64]
Triple = tuple[int, int, int]


class LowRankFit(NamedTuple):
    """A low-rank product with the weights at which it comes near a table of path weights.

    Attributes:
        product: the operator.
        weights: float64, shape ``(product.weight_numel,)``.
        error: the norm of the difference of the two bilinear maps, relative to that of the table's, found from the
            numbers that the product has with these weights.
    """

    product: LowRankTensorProduct
    weights: npt.NDArray[np.float64]
    error: float


def fit_low_rank(
    path_weights: Mapping[Triple, float] | npt.ArrayLike,
    rank: int | tuple[int, int] | None = None,
    tol: float | None = None,
    *,
    max_rank: int = 16,
    restarts: int = 16,
    seed: int = 0,
    method: str = "auto",
    normalization: str = "integral",
) -> LowRankFit:
    """The low-rank product that comes nearest to the complete product with these weights of its paths.

    The table is the bilinear map ``sum of w[l1, l2, l3] C(l1, l2, l3)``. Its paths are orthogonal and each of norm 1
    (the Frobenius norm of :func:`tpnumba.clebsch_gordan`), so that the norm of the map is that of the table. Triples of
    even sum go to the Gaunt products, those of odd sum to the brackets, each by a canonical polyadic decomposition of
    what is left of the table once the product's own couplings are divided out: alternating least squares from several
    random starts, weighted so that the map's norm is what is made small, then steps for all factors at once. The best
    that was found need not be the best that there is.

    Args:
        path_weights: ``w``, as a mapping from triples of degrees ``(l1, l2, l3)`` to numbers, those not named being
            zero; or as an array with these degrees as axes, zero outside the triangle.
        rank: how many Gaunt products and brackets: one number for both, or a pair. A half of the table that is zero
            gets none.
        tol: the largest error. Without ``rank``, the smallest ranks that reach it are looked for, half by half.
        max_rank: the last rank that is looked at.
        restarts: random starts of each decomposition.
        seed: of these; the same seed gives the same weights.
        method, normalization: of the product; see :class:`LowRankTensorProduct`. The table is for features in harmonics
            of this normalisation.

    Raises:
        TypeError, ValueError: a table, ranks or numbers that are malformed; neither ``rank`` nor ``tol``.
        MemoryError: a rank whose equations would not fit; their size is named.
        ValueError: no rank up to ``max_rank`` reaches ``tol``, or the one given does not; the error found is named.

    Example:
        >>> p = LowRankTensorProduct(2, 2, rank=2)
        >>> weights = np.random.default_rng(0).standard_normal(p.weight_numel)
        >>> fit = fit_low_rank(p.path_weights(weights), tol=1e-9)
        >>> fit.product.rank, fit.product.bracket_rank, fit.error < 1e-9
        (2, 0, True)
    """
    table = _read_table(path_weights)
    options: dict[str, Any] = {"method": method, "normalization": normalization}
    halves = _halves(table, normalization)
    ranks, most = _read_ranks(rank), _positive("max_rank", max_rank)
    search = {"restarts": _positive("restarts", restarts), "seed": check_degree("seed", seed)}
    if tol is not None and (isinstance(tol, bool) or not isinstance(tol, Real) or not (isfinite(tol) and tol > 0)):
        raise ValueError(f"tol must be a positive number, got {tol!r}")
    if rank is None and tol is None:
        raise ValueError("rank or tol must be given")
    factors: list[Factors | None] = []
    for half, own in zip(halves, ranks, strict=True):
        best: Factors | None = None
        if half is not None and own:
            require_memory(joint_bytes(half, own), f"the equations of a decomposition of rank {own}")
        if half is not None and own != 0:
            for best in decompositions(half, most if own is None else own, **search):
                # As no half has a larger error than tol, neither has the whole.
                if own is None and tol is not None and half.error(best) <= tol:
                    break
        factors.append(best)
    fit = _fit(table, factors, options)
    if tol is not None and fit.error > tol:
        looked = f"up to max_rank = {most}" if rank is None else f"of rank = {rank}"
        raise ValueError(
            f"no low-rank product {looked} was found that reaches tol = {tol}: {fit.product.rank} Gaunt products and "
            f"{fit.product.bracket_rank} brackets have the error {fit.error:.2g}"
        )
    return fit


def fits_by_rank(
    path_weights: Mapping[Triple, float] | npt.ArrayLike, ranks: Iterable[int], *, restarts: int = 16, seed: int = 0
) -> Iterator[LowRankFit]:
    """The fits of rising ranks, each for Gaunt products and brackets alike; see :func:`fit_low_rank`.

    High ranks, whose starts take long, have ``restarts / rank`` random ones, at least one.
    """
    table = _read_table(path_weights)
    halves = _halves(table, "integral")
    found: list[Factors | None] = [None, None]
    for rank in ranks:
        starts = max(1, restarts // rank)
        found = [
            None if half is None else decompose(half, rank, restarts=starts, seed=seed, before=before)
            for half, before in zip(halves, found, strict=True)
        ]
        yield _fit(table, found, {})


def _fit(table: Floats, factors: Sequence[Factors | None], options: Mapping[str, Any]) -> LowRankFit:
    ranks = [0 if found is None else found[0].shape[1] for found in factors]
    lmax1, lmax2, lmax_out = (length - 1 for length in table.shape)
    sizes = [np.cbrt(largest) for largest in _largest(table)]
    product = LowRankTensorProduct(lmax1, lmax2, lmax_out, rank=ranks[0], bracket_rank=ranks[1], **options)
    weights = np.concatenate(
        [
            size * found[axis].ravel()
            for axis in range(3)
            for found, size in zip(factors, sizes, strict=True)
            if found is not None
        ]
    )
    reached = np.zeros(table.shape)
    for triple, number in product.path_weights(weights).items():
        reached[triple] = number
    unit = np.max(np.abs(table))
    error = np.linalg.norm(reached / unit - table / unit) / np.linalg.norm(table / unit)
    return LowRankFit(product, weights, float(error))


def _largest(table: Floats) -> list[float]:
    """The largest size of a number in each half; 1 where all are zero."""
    odd = np.sum(np.indices(table.shape), axis=0) % 2
    found = (float(np.max(np.abs(table[odd == parity]), initial=0.0)) for parity in (0, 1))
    return [largest or 1.0 for largest in found]


def _halves(table: Floats, normalization: str) -> list[MaskedTable | None]:
    """The triples of even sum with the couplings of the Gaunt product, and those of odd sum with the bracket's.

    Each has its largest number scaled to 1, so that squares neither overflow nor vanish.
    """
    check_choice("normalization", normalization, NORMALIZATIONS)
    inside = _triangle(table.shape)
    halves: list[MaskedTable | None] = []
    largest = _largest(table)
    for parity, coupling in enumerate((gaunt_coupling, bracket_coupling)):
        scale = normalised(coupling, normalization)
        coords = np.array([triple for triple in inside if sum(triple) % 2 == parity], dtype=np.int64).reshape(-1, 3).T
        values = table[tuple(coords)] / largest[parity]
        scales = np.array([scale(*triple) for triple in coords.T.tolist()])
        found = MaskedTable((table.shape[0], table.shape[1], table.shape[2]), coords, values, scales)
        halves.append(found if np.any(values) else None)
    return halves


def _triangle(shape: Sequence[int]) -> list[Triple]:
    return [(a, b, c) for a, b, c in np.ndindex(*shape) if abs(a - b) <= c <= a + b]


def _read_table(path_weights: Any) -> Floats:
    if isinstance(path_weights, Mapping):
        for triple in path_weights:
            if not isinstance(triple, tuple) or len(triple) != 3:
                raise TypeError(f"path_weights must have keys (l1, l2, l3), got {triple!r}")
            check_triple(*triple)
        lengths = [1 + max((triple[axis] for triple in path_weights), default=0) for axis in range(3)]
        table = np.zeros(lengths)
        for triple, number in path_weights.items():
            table[triple] = _number(triple, number)
    else:
        try:
            table = np.asarray(path_weights)
        except ValueError as error:
            raise ValueError(f"path_weights must be a mapping, or an array with axes (l1, l2, l3): {error}") from error
        if table.ndim != 3 or table.dtype.kind not in "fiu" or 0 in table.shape:
            raise ValueError(
                f"path_weights must be a mapping, or an array of real numbers with axes (l1, l2, l3), got shape "
                f"{table.shape} and dtype {table.dtype}"
            )
        table = table.astype(np.float64)
        outside = table.copy()
        outside[tuple(np.array(_triangle(table.shape)).T)] = 0
        if np.any(outside):
            place = tuple(int(n) for n in np.argwhere(outside)[0])
            raise ValueError(f"path_weights must be zero outside the triangle, got {table[place]} at {place}")
        if not np.all(np.isfinite(table)):
            place = tuple(int(n) for n in np.argwhere(~np.isfinite(table))[0])
            raise ValueError(f"path_weights must be finite, got {table[place]} at {place}")
    if not np.any(table):
        raise ValueError("path_weights must not all be zero")
    return table


def _number(triple: Triple, value: Any) -> float:
    if isinstance(value, bool | np.bool_ | str) or not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"path_weights must be numbers, got {value!r} at {triple}")
    if not isfinite(float(value)):
        raise ValueError(f"path_weights must be finite, got {value!r} at {triple}")
    return float(value)


def _read_ranks(rank: Any) -> tuple[int | None, int | None]:
    if rank is None:
        return None, None
    pair = rank if isinstance(rank, tuple) else (rank, rank)
    if len(pair) != 2:
        raise ValueError(f"rank must be a number or a pair (rank, bracket_rank), got {rank!r}")
    first, second = (check_degree("rank", each) for each in pair)
    return first, second


def _positive(name: str, value: Any) -> int:
    if check_degree(name, value) == 0:
        raise ValueError(f"{name} must be a positive integer, got 0")
    return int(value)
