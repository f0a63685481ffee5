"""The dial: expressivity, error and time of low-rank products between Gaunt and complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irrep, Irreps
from tpnumba.limits import require_memory
from tpnumba.measures.expressivity import expressivity
from tpnumba.plans.base import ITEMSIZE
from tpnumba.products.base import Operator
from tpnumba.products.bracket import BracketTensorProduct
from tpnumba.products.clebsch_gordan import FullTensorProduct, TensorProduct
from tpnumba.products.degrees import with_opposite_parity
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.low_rank import LowRankTensorProduct
from tpnumba.products.low_rank_fit import Triple, fit_low_rank, fits_by_rank
from tpnumba.sphere.grids import from_grid, to_grid
from tpnumba.studies.backends import make_ready
from tpnumba.studies.timing import interleaved
from tpnumba.tables.quadrature import Grid

Floats = npt.NDArray[np.float64]
Table = dict[Triple, float]
#: Ranks that are looked at, of Gaunt products and brackets alike; the first that reaches every table follows.
RANKS = (1, 2, 3, 4, 6, 8, 11)
#: Samples that path weights are learned from.
_LEARNED_FROM = 200


@dataclass(frozen=True)
class Row:
    """A low-rank product by grids, of ``rank`` Gaunt products and ``bracket_rank`` brackets, and the complete product.

    ``errors``: of the fit to each table, the norm of the difference of the bilinear maps relative to that of the table;
    ``deviations``: the same of the results, on random features in the dtype of the run. ``seconds_spread`` is half the
    distance between the quartiles of ``seconds_per_sample``; ``complete_*`` are those of the sparse contraction with
    weights of every path.
    """

    lmax: int
    rank: int
    bracket_rank: int
    expressivity: int
    complete_expressivity: int
    errors: dict[str, float]
    deviations: dict[str, float]
    seconds_per_sample: float
    seconds_spread: float
    complete_seconds_per_sample: float
    complete_seconds_spread: float
    flops: int
    complete_flops: int

    @property
    def label(self) -> str:
        """The ranks, for tables."""
        return f"{self.rank}+{self.bracket_rank}"

    @property
    def share_of_time(self) -> float:
        """The time, of that of the complete product."""
        return self.seconds_per_sample / self.complete_seconds_per_sample

    def as_dict(self) -> dict[str, Any]:
        """The fields, by name."""
        return asdict(self)


def complete_product(lmax: int) -> tuple[TensorProduct, list[Triple]]:
    """The complete product with a weight for each path, and the triples of the paths; it gives what the dial gives.

    Natural degrees, then the same ones of opposite parity; path weights stand in front of the bare coefficients.
    """
    irreps = Irreps.spherical_harmonics(lmax)
    out = with_opposite_parity(Irreps.spherical_harmonics(2 * lmax))
    triples = [(a, b, c) for a in range(lmax + 1) for b in range(lmax + 1) for c in range(abs(a - b), a + b + 1)]
    half = 2 * lmax + 1
    instructions = [(a, b, c + half * ((a + b + c) % 2), "uuu", True) for a, b, c in triples]
    product = TensorProduct(irreps, irreps, out, instructions, irrep_normalization="none", path_normalization="none")
    return product, triples


def random_table(lmax: int) -> Table:
    """Independent normal numbers."""
    rng = np.random.default_rng((lmax, 0))
    _, triples = complete_product(lmax)
    return dict(zip(triples, rng.standard_normal(len(triples)).tolist(), strict=True))


def learned_table(lmax: int) -> Table:
    """Path weights of the complete product, by least squares, for a target that is no product of its inputs.

    The target is a saturating function of products: the hyperbolic tangent of the pointwise product of two functions
    on the sphere, and that of their bracket, each divided by its deviation. The functions are random, with a spectrum
    that falls as ``1 / (l + 1)``.
    """
    rng = np.random.default_rng((lmax, 1))
    irreps, top = Irreps.spherical_harmonics(lmax), 2 * lmax
    falling = np.repeat(1 / (1.0 + np.arange(lmax + 1)), [ir.dim for _, ir in irreps])
    x, y = falling * rng.standard_normal((2, _LEARNED_FROM, irreps.dim))
    full = FullTensorProduct(irreps, irreps, irrep_normalization="none")
    terms, where = full(x, y), full.irreps_out.slices()
    grid = Grid.exact(2 * top)
    table: Table = {}
    for product, sign in ((GauntTensorProduct(lmax, lmax, top), 1), (BracketTensorProduct(lmax, lmax, top), -1)):
        values = to_grid(product(x, y), top, grid)
        target = from_grid(np.tanh(values / np.std(values)), top, grid)
        for degree, place in enumerate(Irreps.spherical_harmonics(top).slices()):
            ir = Irrep(degree, sign * (-1) ** degree)
            paths = [path for path in full.paths if path.ir_out == ir]
            if paths:
                columns = np.stack([terms[:, where[path.i_out]].ravel() for path in paths], axis=1)
                found = np.linalg.lstsq(columns, target[:, place].ravel(), rcond=None)[0]
                table |= {(p.ir1.l, p.ir2.l, degree): float(w) for p, w in zip(paths, found, strict=True)}
    return table


#: The tables that products are fitted to.
TABLES: dict[str, Callable[[int], Table]] = {"random": random_table, "learned": learned_table}


def measure(
    degrees: Sequence[int],
    *,
    batch: int,
    dtype: str,
    backend: str = "auto",
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[Row]:
    """Fit and time low-rank products of rising rank, and the complete product beside them.

    Args:
        degrees: the largest degrees L, both inputs holding all degrees up to it and the result all up to 2 L.
        batch, dtype, backend: of the calls that are timed.
        on_progress: called with a description, the number of degrees done, and their total.

    Raises:
        MemoryError: the samples would not fit; their size is named.
        RuntimeError, ImportError: the backend is not there.
    """
    largest = max(degrees)
    require_memory(
        batch * ITEMSIZE[dtype] * 12 * (2 * largest + 1) ** 2 + 16 * _LEARNED_FROM * (largest + 1) ** 4,
        f"operands and results of {batch:,} samples up to L = {largest}",
    )
    rows: list[Row] = []
    for done, lmax in enumerate(degrees):
        for row in _measure(lmax, batch, dtype, backend):
            if isinstance(row, str):
                on_progress(f"L = {lmax}, {row}", done, len(degrees))
            else:
                rows.append(row)
    on_progress("done", len(degrees), len(degrees))
    return rows


def _products(lmax: int, complete: int) -> Iterator[tuple[LowRankTensorProduct, int]]:
    """Products and their expressivities: a Gaunt product alone, then ranks up to the first that reaches every table."""
    gaunt = LowRankTensorProduct(lmax, lmax, rank=1, method="grid")
    yield gaunt, expressivity(gaunt)
    rank, reached, one = 0, 0, 0
    while reached < complete:
        rank += 1
        if rank not in RANKS and rank * one < complete:  # no rank reaches more than as many of rank one
            continue
        product = LowRankTensorProduct(lmax, lmax, rank=rank, bracket_rank=rank, method="grid")
        reached = expressivity(product)
        one = one or reached
        if rank in RANKS or reached == complete:
            yield product, reached


def _measure(lmax: int, batch: int, dtype: str, backend: str) -> Iterator[Row | str]:
    """What is being done, as text, and then the rows."""
    full, triples = complete_product(lmax)
    complete = expressivity(full)
    rng = np.random.default_rng((lmax, 2))
    x, y = rng.standard_normal((2, batch, full.irreps_in1.dim)).astype(dtype)
    listed = dict(_products(lmax, complete))
    ranks = [product.rank for product in listed if product.bracket_rank]
    fits, results = {}, {}
    for name, make in TABLES.items():
        yield f"fits to the {name} table"
        table = make(lmax)
        found = [fit_low_rank(table, (1, 0)), *fits_by_rank(table, ranks)]
        fits[name] = dict(zip(listed, found, strict=True))
        weights = np.array([table[triple] for triple in triples])
        results[name] = full(x.astype(np.float64), y.astype(np.float64), weights)
    yield "times"
    of_paths = np.array([*random_table(lmax).values()]).astype(dtype)
    calls: dict[Operator, Callable[[], object]] = {full: _call(full, x, y, of_paths, backend)}
    for product in listed:
        calls[product] = _call(product, x, y, fits["random"][product].weights.astype(dtype), backend)
    for timed in calls:
        make_ready(timed, dtype, backend)
    timings = interleaved(calls, repeats=7, repeat_seconds=0.005)
    for product, reached in listed.items():
        yield Row(
            lmax=lmax,
            rank=product.rank,
            bracket_rank=product.bracket_rank,
            expressivity=reached,
            complete_expressivity=complete,
            errors={name: fits[name][product].error for name in TABLES},
            deviations={
                name: _deviation(
                    product(x, y, fits[name][product].weights.astype(dtype), backend=backend),
                    results[name],
                )
                for name in TABLES
            },
            seconds_per_sample=timings[product].seconds / batch,
            seconds_spread=timings[product].spread / batch,
            complete_seconds_per_sample=timings[full].seconds / batch,
            complete_seconds_spread=timings[full].spread / batch,
            flops=product.cost().flops,
            complete_flops=full.cost().flops,
        )


def _call(product: Operator, x: Any, y: Any, weights: Any, backend: str) -> Callable[[], object]:
    return lambda: product(x, y, weights, backend=backend)


def _deviation(found: Any, expected: Floats) -> float:
    """Relative to the norm; a product without brackets gives the first half of the components, and zero behind."""
    size = found.shape[-1]
    rest = np.linalg.norm(expected[:, size:])
    return float(np.hypot(np.linalg.norm(found - expected[:, :size]), rest) / np.linalg.norm(expected))
