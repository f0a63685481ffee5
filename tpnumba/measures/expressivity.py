"""Expressivity and interactability: what a product can do, whatever it costs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irrep, Irreps
from tpnumba.limits import require_memory
from tpnumba.plans.contraction import Path, channel_combinations
from tpnumba.products.base import Operator

Array = npt.NDArray[np.float64]


def interactability(p: Operator) -> frozenset[tuple[int, int, int]]:
    """The triples of degrees ``(l1, l2, l3)`` of x1, x2 and the result that the product can couple.

    Raises:
        TypeError: ``p`` is no product.
        ValueError: ``p`` is the gradient of weights, which couples three features.

    Example:
        >>> import tpnumba as tp
        >>> sorted(tp.interactability(tp.GauntTensorProduct(1, 1)))
        [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 2)]
    """
    _require_product(p)
    triples = set()
    for path in p.form.paths:
        first, second, out = (p.operand_irreps[i][place] for i, place in _blocks(p, path))
        if path.scale != 0 and first.mul * second.mul * out.mul > 0:
            triples.add((first.ir.l, second.ir.l, out.ir.l))
    return frozenset(triples)


def expressivity(p: Operator, *, single_copies: bool = False, parity: bool = False) -> int:
    """The number of dimensions of the set of equivariant bilinear maps that the product reaches.

    In front of each input stands any equivariant endomorphism (a matrix between the copies of each irrep), behind the
    output any equivariant map to one copy of each irrep, and the product's own weights are free. The number is the
    generic rank of the derivative of all these parameters -> the bilinear map (*The Price of Freedom*, section 4).

    Args:
        p: a product.
        single_copies: count as the paper's tables do, whatever copies the product's inputs hold: a map from one copy of
            each degree to one copy of each degree, parity ignored. Each block of an input is fed from its degree with a
            weight of its own, each degree of the result is a weighted sum of its blocks.
        parity: with ``single_copies``, do not ignore it: one copy of each irrep in place of each degree.

    Raises:
        TypeError, ValueError: as :func:`interactability`; ``parity`` without ``single_copies``.
        MemoryError: the derivative would not fit; its size is named.

    Example:
        >>> import tpnumba as tp
        >>> Y = tp.Irreps.spherical_harmonics(2)
        >>> tp.expressivity(tp.FullTensorProduct(Y, Y)), tp.expressivity(tp.GauntTensorProduct(2, 2))
        (19, 9)
    """
    _require_product(p)
    if parity and not single_copies:
        raise ValueError("parity=True needs single_copies=True: otherwise irreps are told apart anyway")
    table = _ReducedTable(p, single_copies=single_copies, by_degree=single_copies and not parity)
    size = 3 * 8 * table.n_maps * table.n_parameters
    require_memory(size, "the derivative of the bilinear map with respect to its parameters")
    rng = np.random.default_rng(0)
    # A random point has the generic rank with probability one; a second one guards against an unlucky draw.
    return max(_rank(table.jacobian(rng)) for _ in range(2))


def _require_product(p: object) -> None:
    if not isinstance(p, Operator):
        raise TypeError(f"p must be a tensor product of tpnumba, got {type(p).__name__}")
    if p.form.operands[p.form.output].name not in ("in1", "in2", "out"):
        raise ValueError("p must map two features to a third one, got the gradient of weights, which takes three")


def _blocks(p: Operator, path: Path) -> Iterator[tuple[int, int]]:
    """The operands of x1, x2 and the result, and the block of each that a path joins."""
    for i in (*p.argument_operands[:2], p.form.output):
        place = path.segments[i]
        assert place is not None  # only weights may be missing
        yield i, place


def _rank(jacobian: Array) -> int:
    if 0 in jacobian.shape:
        return 0
    # Scaling rows and columns leaves the rank as it is, and makes small couplings at high degree as good as any.
    for axis in (1, 0):
        norms = np.linalg.norm(jacobian, axis=axis, keepdims=True)
        jacobian = jacobian / np.where(norms == 0, 1.0, norms)
    return int(np.linalg.matrix_rank(jacobian))


class _ReducedTable:
    """A product without its components: numbers ``kappa[s1, s2, s3]`` between copies of irreps."""

    def __init__(self, p: Operator, *, single_copies: bool, by_degree: bool) -> None:
        self.places1, copies1 = _copies(p.irreps_in1, by_degree=by_degree)
        self.places2, copies2 = _copies(p.irreps_in2, by_degree=by_degree)
        self.places_out, self.copies_out = _copies(p.irreps_out, by_degree=by_degree)
        self.mixers1 = [(n, 1 if single_copies else n) for n in copies1]
        self.mixers2 = [(n, 1 if single_copies else n) for n in copies2]
        self.weight_numel = p.weight_numel
        self.n_parameters = (
            sum(n * m for n, m in (*self.mixers1, *self.mixers2)) + sum(self.copies_out) + self.weight_numel
        )
        parts = list(_terms(p))
        none = np.zeros(0, dtype=np.int64)
        s1, s2, s3 = (np.concatenate([none, *(part[k] for part in parts)]) for k in range(3))
        self.s1, self.s2, self.s3 = s1, s2, s3
        of_weights = len(p.argument_operands) - 2
        self.weights = np.concatenate([none.reshape(of_weights, 0), *(part[3] for part in parts)], axis=1)
        self.kappa = np.concatenate([np.zeros(0), *(part[4] for part in parts)])
        # The bilinear map: one number for each pair of copies fed in and each output irrep that some path joins.
        ir1, ir2, ir3 = self.places1[s1, 0], self.places2[s2, 0], self.places_out[s3, 0]
        self.triples = sorted(set(zip(ir1.tolist(), ir2.tolist(), ir3.tolist(), strict=True)))
        self.n_maps = sum(self.mixers1[a][1] * self.mixers2[b][1] for a, b, _ in self.triples)

    def jacobian(self, rng: np.random.Generator) -> Array:
        """The derivative at a random point, shape ``(parameters, maps)``."""
        mixers1 = [rng.standard_normal(shape) for shape in self.mixers1]
        mixers2 = [rng.standard_normal(shape) for shape in self.mixers2]
        readouts = [rng.standard_normal(n) for n in self.copies_out]
        weights = np.concatenate([rng.standard_normal(self.weight_numel), [1.0]])
        ir1, copy1 = self.places1[self.s1].T
        ir2, copy2 = self.places2[self.s2].T
        ir3, copy3 = self.places_out[self.s3].T
        columns = []
        start1 = np.cumsum([0, *(m.size for m in mixers1)])
        start2 = start1[-1] + np.cumsum([0, *(m.size for m in mixers2)])
        start3 = start2[-1] + np.cumsum([0, *(r.size for r in readouts)])
        total = start3[-1] + self.weight_numel
        for a, b, c in self.triples:
            chosen = (ir1 == a) & (ir2 == b) & (ir3 == c)
            u, v, w, factors = copy1[chosen], copy2[chosen], copy3[chosen], self.weights[:, chosen]
            value, n1, n2 = self.kappa[chosen], mixers1[a].shape[1], mixers2[b].shape[1]
            left, right, read = mixers1[a][u], mixers2[b][v], readouts[c][w]
            weight = np.prod(weights[factors], axis=0)
            block = np.zeros((total, n1, n2))
            # d/d mixers1[a][u, i'] of sum value left[u, i] right[v, j] read weight, and so on
            inner = (value * read * weight)[:, None]
            for i in range(n1):
                np.add.at(block[:, i, :], start1[a] + u * n1 + i, inner * right)
            for j in range(n2):
                np.add.at(block[:, :, j], start2[b] + v * n2 + j, inner * left)
            pairs = left[:, :, None] * right[:, None, :]
            np.add.at(block, start3[c] + w, (value * weight)[:, None, None] * pairs)
            for number, k in enumerate(factors):
                own = k < self.weight_numel
                others = np.prod(weights[np.delete(factors, number, axis=0)], axis=0)
                np.add.at(block, start3[-1] + k[own], (value * read * others)[own, None, None] * pairs[own])
            columns.append(block.reshape(total, -1))
        return np.concatenate([np.zeros((total, 0)), *columns], axis=1)


def _copies(irreps: Irreps, *, by_degree: bool) -> tuple[npt.NDArray[np.int64], list[int]]:
    """For each copy its irrep's number and its place among the copies of that irrep; and how many there are.

    ``by_degree``: irreps that differ in parity alone count as one.
    """
    counts: dict[Irrep | int, int] = {}
    places = []
    for mul, ir in irreps:
        key = ir.l if by_degree else ir
        start = counts.setdefault(key, 0)
        number = list(counts).index(key)
        places += [(number, start + i) for i in range(mul)]
        counts[key] = start + mul
    return np.array(places, dtype=np.int64).reshape(-1, 2), list(counts.values())


def _terms(p: Operator) -> Iterator[tuple[npt.NDArray[Any], ...]]:
    """For each path: the copies of in1, in2 and out that it joins, its weights, and its factor.

    Weights have a row for each operand that stands in them; ``weight_numel``: the path has none there.
    """
    form = p.form
    of_weights = p.argument_operands[2:]
    starts = np.cumsum([0, *(form.sizes[i] for i in of_weights)])
    firsts = [np.cumsum([0, *(mul for mul, _ in irreps)]) for irreps in p.operand_irreps]
    for path in form.paths:
        channels = channel_combinations(path, form.operands)
        copies = [firsts[i][place] + channels[i] for i, place in _blocks(p, path)]
        count = channels[0].size
        weights = np.full((len(of_weights), count), p.weight_numel)
        for number, i in enumerate(of_weights):
            place = path.segments[i]
            if place is not None:
                weights[number] = starts[number] + form.operands[i].segments[place].offset + channels[i]
        yield *copies, weights, np.full(count, path.scale)
