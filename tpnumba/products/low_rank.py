"""The low-rank tensor product: Gaunt products and brackets between weights of each degree, the dial of expressivity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irreps, IrrepsLike, check_degree
from tpnumba.plans.base import Operand, Plan, Segment
from tpnumba.plans.contraction import Contraction, Path
from tpnumba.plans.low_rank import LowRankContraction, LowRankTransform, Part, PathWeights, Terms
from tpnumba.plans.methods import Methods
from tpnumba.plans.transform import Transform
from tpnumba.products.base import Operator
from tpnumba.products.bracket import BracketTensorProduct
from tpnumba.products.degrees import UNNATURAL, degrees_of, irreps_of, read_degrees
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS

Array = npt.NDArray[np.floating]
#: A product that is taken several times, and how often.
Halves = Sequence[tuple[GauntTensorProduct | BracketTensorProduct, int]]


class LowRankTensorProduct(Operator):
    """Gaunt products and brackets between weights of each degree: from one Gaunt product to the complete product.

    ``out[l3] = sum over r of c_r[l3] Gaunt(a_r[l1] x1[l1], b_r[l2] x2[l2])[l3]`` for ``rank`` Gaunt products, and
    likewise for ``bracket_rank`` brackets, whose degrees have the opposite parity and follow in a block of their own.
    So the number in front of ``C(l1, l2, l3)`` is ``k(l1, l2, l3) sum over r of a_r[l1] b_r[l2] c_r[l3]``, with the
    coupling k of the Gaunt product or the bracket: a canonical polyadic decomposition of the table of path weights.
    (Contraction of Clebsch-Gordan coefficients by such decompositions: arXiv 2605.15073.)

    **Weights** are one flat axis. Its three parts are a, b and c, in this order; each has the numbers of the Gaunt
    products, an array (degrees, rank), then those of the brackets, an array (degrees, bracket_rank), rank fastest. The
    product is linear in each part, not in all three at once: they are arguments 2, 3 and 4 of ``adjoint``, and
    ``p.adjoint(2)`` takes weights in which the cotangent of the result stands in place of a.

    Args:
        lmax1, lmax2: the largest degree of each input, or irreps of multiplicity 1 with each degree at most once and
            parity ``(-1)^l``. Channels go on leading axes.
        lmax_out: likewise for the output, with the natural parity also where there are brackets; by default ``lmax1 +
            lmax2``, where nothing is cut off.
        rank: how many Gaunt products; 0 leaves out their block of the output.
        bracket_rank: how many brackets; 0 leaves out theirs.
        method: ``direct`` (the number of each triple summed up from its weights, then sparse coefficients: O(L^5), and
            hardly more for a higher rank), ``grid`` (one transform after the other on a Gauss-Legendre grid, in a
            workspace that does not grow with the rank: O(rank L^3)) or ``auto`` (the quicker one, see ``repr``). Both
            give the same numbers to rounding.
        normalization: of the harmonics that both inputs and the output are expanded in: ``integral`` (orthonormal),
            ``component`` or ``norm``.

    Raises:
        TypeError, ValueError: degrees, irreps, ranks or names that are malformed; no rank at all.

    Example:
        >>> p = LowRankTensorProduct(2, 2, rank=3, bracket_rank=1)
        >>> p.irreps_out.simplify(), p.weight_numel
        (1x0e+1x1o+1x2e+1x3o+1x4e+1x0o+1x1e+1x2o+1x3e+1x4o, 44)
        >>> p(np.ones((10, 9)), np.ones((10, 9)), np.ones(p.weight_numel)).shape
        (10, 50)
    """

    METHODS = ("direct", "grid")

    rank: int
    bracket_rank: int

    def __init__(
        self,
        lmax1: int | IrrepsLike,
        lmax2: int | IrrepsLike,
        lmax_out: int | IrrepsLike | None = None,
        *,
        rank: int,
        bracket_rank: int = 0,
        method: str = "auto",
        normalization: str = "integral",
    ) -> None:
        in1, in2 = read_degrees("lmax1", lmax1), read_degrees("lmax2", lmax2)
        if lmax_out is None:
            lmax_out = in1.lmax + in2.lmax if len(in1) and len(in2) else ()
        out = read_degrees("lmax_out", lmax_out)
        ranks = check_degree("rank", rank), check_degree("bracket_rank", bracket_rank)
        if ranks == (0, 0):
            raise ValueError("rank or bracket_rank must be positive, got 0 for both")
        check_choice("method", method, ("auto", *self.METHODS))
        check_choice("normalization", normalization, NORMALIZATIONS)
        settings = {"method": "direct" if method == "direct" else "grid", "normalization": normalization}
        pseudo = irreps_of(degrees_of(out), UNNATURAL)
        halves: Halves = [
            (product(in1, in2, block, **settings), count)
            for product, block, count in (
                (GauntTensorProduct, out, ranks[0]),
                (BracketTensorProduct, pseudo, ranks[1]),
            )
            if count > 0
        ]
        form = _form(halves)
        methods = Methods((("direct", form),))
        if form.paths:
            plans: dict[str, Plan] = {"direct": _direct_plan(form, halves)}
            # A product that couples nothing has no transform.
            if method != "direct" and all(isinstance(product.plan, Transform) for product, _ in halves):
                plans["grid"] = _grid_plan(form, halves)
            methods = Methods(tuple(item for item in plans.items() if method in ("auto", item[0]) or len(plans) == 1))
        arguments = {"lmax1": in1, "lmax2": in2, "lmax_out": out, "rank": ranks[0], "bracket_rank": ranks[1]}
        features = in1, in2, Irreps([block for product, _ in halves for block in product.irreps_out])
        weights = (Irreps([(size, "0e")]) for size in form.sizes[2:5])
        self._initialize(
            {**arguments, "method": method, "normalization": normalization},
            form,
            methods,
            (*features[:2], *weights, features[2]),
            (0, 1, 2, 3, 4),
        )
        self.__dict__.update(rank=ranks[0], bracket_rank=ranks[1])

    def path_weights(self, weights: Array) -> dict[tuple[int, int, int], float]:
        """The numbers in front of ``C(l1, l2, l3)``, by their degrees: what :func:`fit_low_rank` starts from.

        Args:
            weights: shape ``(weight_numel,)``.

        Raises:
            TypeError, ValueError: another shape, or no real numbers.

        Example:
            >>> p = LowRankTensorProduct(1, 1, rank=1)
            >>> numbers = p.path_weights(np.ones(p.weight_numel))
            >>> bool(np.isclose(numbers[1, 1, 0], np.sqrt(3 / (4 * np.pi))))
            True
        """
        flat = np.asarray(weights)
        if flat.shape != (self.weight_numel,):
            raise ValueError(f"weights must have shape ({self.weight_numel},), got {flat.shape}")
        if flat.dtype.kind not in "fiu":
            raise TypeError(f"weights must be real numbers, got dtype {flat.dtype}")
        parts = np.split(flat.astype(np.float64), np.cumsum(self.form.sizes[2:4]))
        found = {}
        for path, info in zip(self.form.paths, self.paths, strict=True):
            factors = [
                part[operand.segments[place].slice]
                for part, operand, place in zip(parts, self.form.operands[2:5], path.segments[2:5], strict=True)
                if place is not None
            ]
            found[info.ir1.l, info.ir2.l, info.ir_out.l] = path.scale * float(np.sum(np.prod(factors, axis=0)))
        return found

    def __repr__(self) -> str:
        return f"{super().__repr__()}\n  {self.rank} Gaunt products, {self.bracket_rank} brackets"


def _blocks(path: Path) -> tuple[int, int, int]:
    """The blocks of both inputs and of the output that a path without weights joins."""
    i1, i2, i_out = path.segments
    assert i1 is not None
    assert i2 is not None
    assert i_out is not None
    return i1, i2, i_out


def _form(halves: Halves) -> Contraction:
    """Every path of the products, with the weights of its degrees; operands in1, in2, a, b, c, out."""
    segments: list[list[Segment]] = [[], [], []]
    sizes = [0, 0, 0]
    paths = []
    out: list[Segment] = []
    for product, count in halves:
        firsts = [len(part) for part in segments]
        for k, operand in enumerate(product.form.operands):
            for _ in operand.segments:
                segments[k].append(Segment(sizes[k], count, 1))
                sizes[k] += count
        for path in product.form.paths:
            i1, i2, i_out = _blocks(path)
            places = i1, i2, *(first + i for first, i in zip(firsts, (i1, i2, i_out), strict=True)), len(out) + i_out
            legs = 0, 1, None, None, None, 2
            paths.append(Path(places, ",,u,u,u,", path.coupling, legs, path.scale))
        start = sum(segment.dim for segment in out)
        out += [Segment(start + segment.offset, 1, segment.dim) for segment in product.form.operands[2].segments]
    in1, in2, _ = halves[0][0].form.operands
    names = "weights of in1", "weights of in2", "weights of out"
    weights = (Operand(name, tuple(part)) for name, part in zip(names, segments, strict=True))
    return Contraction((in1, in2, *weights, Operand("out", tuple(out))), 5, tuple(paths))


def _grid_plan(form: Contraction, halves: Halves) -> LowRankTransform:
    parts = []
    starts, out_start = [0, 0, 0], 0
    for product, count in halves:
        assert isinstance(product.plan, Transform)
        dims = tuple(tuple(segment.dim for segment in operand.segments) for operand in product.form.operands)
        (in1, in2, out) = dims
        a, b, c = starts
        parts.append(Part(product.plan, count, (0, 0, out_start), (a, b, c), (in1, in2, out)))
        starts = [start + count * len(part) for start, part in zip(starts, dims, strict=True)]
        out_start += product.form.sizes[2]
    return LowRankTransform(form.operands, form.output, tuple(parts))


def _direct_plan(form: Contraction, halves: Halves) -> LowRankContraction:
    """The paths with a weight each, which is summed up from those of its degrees."""
    in1, in2, *_, out = form.operands
    weights = Operand("weights", tuple(Segment(number, 1, 1) for number in range(len(form.paths))))
    paths = []
    for number, path in enumerate(form.paths):
        i1, i2, *_, i_out = path.segments
        paths.append(Path((i1, i2, number, i_out), "u,u,u,u", path.coupling, (0, 1, None, 2), path.scale))
    terms = []
    starts, first = [0, 0, 0], 0
    for product, count in halves:
        own = product.form
        a, b, c = starts
        n1, n2, n_out = (len(operand.segments) for operand in own.operands)
        triples = tuple(_blocks(path) for path in own.paths)
        terms.append(Terms((first, first + len(triples)), count, (a, b, c), (n1, n2, n_out), triples))
        starts = [start + count * len(operand.segments) for start, operand in zip(starts, own.operands, strict=True)]
        first += len(own.paths)
    contraction = Contraction((in1, in2, weights, out), 3, tuple(paths))
    path_weights = PathWeights((*form.operands[2:5], weights), 3, tuple(terms))
    return LowRankContraction(form.operands, form.output, contraction, path_weights)
