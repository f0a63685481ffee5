"""The base of the products on the sphere: degrees, method and normalisation are read here, once for all of them.

A product adds its couplings, one number for each triple of blocks, and the plans of the methods other than ``direct``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from tpnumba.irreps import Irreps, IrrepsLike
from tpnumba.plans.base import Plan
from tpnumba.plans.methods import Methods
from tpnumba.products.base import Operator
from tpnumba.products.degrees import (
    NATURAL,
    degrees_of,
    irreps_of,
    make_form,
    normalised,
    read_degrees,
    with_opposite_parity,
)
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS

IrrepsTriple = tuple[Irreps, Irreps, Irreps]
CouplingFunction = Callable[[int, int, int], float]
#: Makes the plan of each method but ``direct``.
Plans = Mapping[str, Callable[[], Plan]]


class Variant(NamedTuple):
    """A product with some of its options chosen, as studies, tests and benchmarks list it.

    Attributes:
        title: in tables and figures.
        key: in names of files and of benchmarks.
        options: keyword arguments of the constructor.
    """

    title: str
    key: str
    options: Mapping[str, Any] = MappingProxyType({})


class SphereProduct(Operator):
    """A product whose operands hold each degree at most once, with one number for each triple of blocks.

    Attributes:
        METHODS: the algorithms, ``direct`` (the coefficients) first.
        VARIANTS: what studies and benchmarks list; a class that is in ``tpnumba.products.SPHERE_PRODUCTS`` appears
            there, and in the property tests, by itself.
    """

    METHODS: ClassVar[tuple[str, ...]]
    VARIANTS: ClassVar[tuple[Variant, ...]]

    @classmethod
    def parities(cls, **_: Any) -> tuple[str, str]:
        """The parities of the inputs and of ``lmax_out``, as keys of ``degrees.PARITIES``, for the options given."""
        return NATURAL, NATURAL

    @classmethod
    def of_degrees(
        cls, degrees1: Sequence[int], degrees2: Sequence[int], degrees_out: Sequence[int], **options: Any
    ) -> SphereProduct:
        """The product between features that have these degrees.

        Args:
            degrees1, degrees2, degrees_out: of the inputs and of the output.
            options: keyword arguments of the constructor.

        Raises:
            TypeError, ValueError: as the constructor.

        Example:
            >>> import tpnumba as tp
            >>> tp.BracketTensorProduct.of_degrees((1, 2), (2,), (1, 3), method="grid").irreps_out
            1x1e+1x3e
        """
        parity, parity_out = cls.parities(**options)
        make: Callable[..., SphereProduct] = cls
        return make(
            irreps_of(degrees1, parity), irreps_of(degrees2, parity), irreps_of(degrees_out, parity_out), **options
        )

    @classmethod
    def _default_lmax_out(cls, lmax1: int, lmax2: int) -> int:
        """The last degree at which the product of two inputs may differ from zero."""
        return lmax1 + lmax2

    @classmethod
    def _read_inputs(cls, lmax1: Any, lmax2: Any, **options: Any) -> tuple[Irreps, Irreps]:
        parity, _ = cls.parities(**options)
        return read_degrees("lmax1", lmax1, parity), read_degrees("lmax2", lmax2, parity)

    @classmethod
    def _read_output(cls, lmax_out: Any, **options: Any) -> Irreps:
        _, parity = cls.parities(**options)
        return read_degrees("lmax_out", lmax_out, parity)

    @classmethod
    def _read_degrees(cls, lmax1: Any, lmax2: Any, lmax_out: Any) -> IrrepsTriple:
        """The irreps that the three arguments stand for; without ``lmax_out`` nothing is cut off."""
        in1, in2 = cls._read_inputs(lmax1, lmax2)
        if lmax_out is None:
            lmax_out = cls._default_lmax_out(in1.lmax, in2.lmax) if len(in1) and len(in2) else ()
        return in1, in2, cls._read_output(lmax_out)

    @classmethod
    def _check_method(cls, method: str) -> None:
        check_choice("method", method, ("auto", *cls.METHODS))

    def _initialize_by_coupling(
        self, arguments: Mapping[str, Any], irreps: IrrepsTriple, coupling: CouplingFunction, plans: Plans
    ) -> None:
        """Fill in the operator.

        Args:
            arguments: what the constructor needs to make an equal operator; ``method`` is among them.
            irreps: of in1, in2 and out.
            coupling: the factor of the Clebsch-Gordan coefficients between three blocks, given by their numbers.
            plans: of the methods other than ``direct``.
        """
        form = make_form(irreps, coupling)
        self._initialize(arguments, form, Methods.of(arguments["method"], form, plans), irreps, (0, 1))


class FunctionProduct(SphereProduct):
    """A product of two functions on the sphere, in harmonics of any of the normalisations.

    Attributes:
        COUPLINGS: functions of ``(l1, l2, l3)``, between orthonormal harmonics. The first one leads to the degrees of
            ``lmax_out``; a second one to the same degrees of the opposite parity, which follow them in the output.
    """

    COUPLINGS: ClassVar[tuple[CouplingFunction, ...]]

    def __init__(
        self,
        lmax1: int | IrrepsLike,
        lmax2: int | IrrepsLike,
        lmax_out: int | IrrepsLike | None = None,
        *,
        method: str = "auto",
        normalization: str = "integral",
    ) -> None:
        in1, in2, out = self._read_degrees(lmax1, lmax2, lmax_out)
        self._check_method(method)
        check_choice("normalization", normalization, NORMALIZATIONS)
        irreps = in1, in2, with_opposite_parity(out) if len(self.COUPLINGS) == 2 else out
        degrees1, degrees2, degrees_out = (degrees_of(block) for block in irreps)
        couplings = [normalised(coupling, normalization) for coupling in self.COUPLINGS]
        arguments = {"lmax1": in1, "lmax2": in2, "lmax_out": out, "method": method, "normalization": normalization}
        self._initialize_by_coupling(
            arguments,
            irreps,
            lambda i, j, k: couplings[k // len(out)](degrees1[i], degrees2[j], degrees_out[k]),
            self._plans(irreps, normalization),
        )

    @classmethod
    def _plans(cls, irreps: IrrepsTriple, normalization: str) -> Plans:
        """The plans of the methods other than ``direct``."""
        raise NotImplementedError
