"""The matrix tensor product: features as operators on one irrep, multiplied as matrices."""

from __future__ import annotations

from tpnumba.irreps import Irrep, Irreps, IrrepsLike, check_degree
from tpnumba.plans.stages import LinearMap, SparseStage
from tpnumba.plans.transform import Matrices, Transform
from tpnumba.products.base import Operator
from tpnumba.products.degrees import EVEN, NATURAL, degrees_of, make_form, make_operands, read_degrees
from tpnumba.products.instructions import check_choice
from tpnumba.products.methods import Methods
from tpnumba.tables.couplings import matrix_coupling

METHODS = ("auto", "direct", "matrix")


class MatrixTensorProduct(Operator):
    """Product of operators on one irrep: ``X = sum x_lm C(a, a, l)[., ., m]``, likewise Y, and ``Z = X Y``.

    The result is ``z_lm = sum Z[i, k] C(a, a, l)[i, k, m]``. So degrees are coupled through ``(-1)^l3 6j{l1 l2 l3; a a
    a}`` (``couplings.matrix_coupling``), for both parities of ``l1 + l2 + l3``, but added into one output block. Known
    as the fused or matrix product (Unke and Maennel, E3x).

    Args:
        lmax1, lmax2: the largest degree of each input, or irreps of multiplicity 1 with each degree at most once.
            Channels go on leading axes.
        lmax_out: likewise for the output; by default all that is reached, ``min(lmax1 + lmax2, 2 degree)``.
        degree: ``a``, of the irrep that the operators act on; at least half of the largest degree. By default
            ``ceil((lmax1 + lmax2) / 2)``, where nothing is cut off. A 6j symbol may vanish by accident; the triples
            that are lost so are named in ``repr``.
        split: False: an SO(3)-equivariant product of even irreps, as paths of both parities meet. True: inputs have
            parity ``(-1)^l``, and the even part ``(X Y + Y X) / 2`` (parity ``(-1)^l``) and the odd part
            ``(X Y - Y X) / 2`` (parity ``-(-1)^l``) stand side by side, each with the degrees of ``lmax_out``:
            O(3)-equivariant.
        method: ``direct`` (sparse coefficients, O(L^5)), ``matrix`` (sparse changes of basis around a matrix product,
            O(L^3)) or ``auto`` (the quicker one, see ``repr``). Both give the same numbers to rounding.

    Raises:
        TypeError, ValueError: degrees, irreps, parities or names that are malformed or do not fit.

    Example:
        >>> p = MatrixTensorProduct(1, 1)
        >>> p.irreps_out, len(p.paths)
        (1x0e+1x1e+1x2e, 6)
        >>> MatrixTensorProduct(1, 1, split=True).irreps_out
        1x0e+1x1o+1x2e+1x0o+1x1e+1x2o
    """

    degree: int
    split: bool
    lost: tuple[tuple[int, int, int], ...]

    def __init__(
        self,
        lmax1: int | IrrepsLike,
        lmax2: int | IrrepsLike,
        lmax_out: int | IrrepsLike | None = None,
        *,
        degree: int | None = None,
        split: bool = False,
        method: str = "auto",
    ) -> None:
        if not isinstance(split, bool):
            raise TypeError(f"split must be True or False, got {split!r}")
        parity = NATURAL if split else EVEN
        in1, in2 = read_degrees("lmax1", lmax1, parity), read_degrees("lmax2", lmax2, parity)
        largest = [max(degrees_of(block), default=0) for block in (in1, in2)]
        a = -(-sum(largest) // 2) if degree is None else check_degree("degree", degree)
        kept = read_degrees("lmax_out", min(sum(largest), 2 * a) if lmax_out is None else lmax_out, parity)
        if degree is None:
            a = max(a, -(-max(degrees_of(kept), default=0) // 2))
        for name, block in (("lmax1", in1), ("lmax2", in2), ("lmax_out", kept)):
            if max(degrees_of(block), default=0) > 2 * a:
                raise ValueError(
                    f"degree must be at least half of every degree, as operators on an irrep of degree a hold degrees "
                    f"up to 2 a; got {a} with {name} = {block.lmax}"
                )
        check_choice("method", method, METHODS)
        out = kept + Irreps([(1, Irrep(block.ir.l, -block.ir.p)) for block in kept]) if split else kept
        irreps = in1, in2, out
        degrees1, degrees2, degrees_out = (degrees_of(block) for block in irreps)
        lost = []

        def coupling(i: int, j: int, k: int) -> float:
            triple = degrees1[i], degrees2[j], degrees_out[k]
            odd = sum(triple) % 2 == 1
            if split and odd != (k >= len(kept)):
                return 0.0
            value = matrix_coupling(*triple, a)
            if value == 0:
                lost.append(triple)
            return value

        form = make_form(irreps, coupling)
        methods = Methods.of(method, form, {"matrix": lambda: _matrix_plan(irreps, a, split=split)})
        arguments = {"lmax1": in1, "lmax2": in2, "lmax_out": kept, "degree": a, "split": split, "method": method}
        self._initialize(arguments, form, methods, irreps, (0, 1))
        self.__dict__.update(degree=a, split=split, lost=tuple(sorted(set(lost))))

    def __repr__(self) -> str:
        lost = f"\n  lost to a zero 6j symbol: {', '.join(str(triple) for triple in self.lost)}" if self.lost else ""
        return f"{super().__repr__()}\n  operators on an irrep of degree {self.degree}{lost}"


def _matrix_plan(irreps: tuple[Irreps, Irreps, Irreps], a: int, *, split: bool) -> Transform:
    """``Tr(X Y Z^T)``; with ``split`` half of ``Tr(X Y (E + O)^T) + Tr(Y X (E - O)^T)``.

    ``Tr(Y X Z^T)`` is ``Tr(X' Y' Z'^T)`` with transposed matrices, and transposing ``C(a, a, l)`` multiplies it by
    ``(-1)^l``. So the second term is the first one with other signs of the degrees.
    """

    def basis(signs: list[int], irreps: Irreps) -> LinearMap:
        blocks = tuple(zip(degrees_of(irreps), signs, strict=True))
        return LinearMap((SparseStage("operator_basis", (a, *blocks)),))

    def plain(irreps: Irreps) -> LinearMap:
        return basis([1] * len(irreps), irreps)

    if not split:
        single = tuple((plain(block),) for block in irreps)
        return Transform(make_operands(irreps), 2, single, (((0, 0, 0), 1.0),), Matrices(2 * a + 1))
    half = len(irreps[2]) // 2
    maps = []
    for i, block in enumerate(irreps):
        signs = [(-1) ** degree * (-1 if i == 2 and k >= half else 1) for k, degree in enumerate(degrees_of(block))]
        maps.append((plain(block), basis(signs, block)))
    terms = (((0, 0, 0), 0.5), ((1, 1, 1), 0.5))
    return Transform(make_operands(irreps), 2, tuple(maps), terms, Matrices(2 * a + 1))
