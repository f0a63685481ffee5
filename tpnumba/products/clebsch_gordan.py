"""Clebsch-Gordan tensor products: every path of irreps an output of its own, or mixed by weights as in e3nn."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tpnumba.irreps import Irrep, Irreps, IrrepsLike
from tpnumba.plans.methods import Methods
from tpnumba.products.base import Operator
from tpnumba.products.instructions import (
    IRREP_NORMALIZATIONS,
    PATH_NORMALIZATIONS,
    Instruction,
    check_choice,
    make_form,
    normalization_coefficients,
    read_instructions,
    read_variances,
)
from tpnumba.products.pairwise_grid import pairwise_grid_plan
from tpnumba.products.path_choice import Unread, all_paths, cut_to_pairs, merged, reader_of_filter

Chosen = tuple[Irreps, Irreps, Irreps, list[Unread]]


class TensorProduct(Operator):
    """Tensor product with weights, path by path as the instructions say: e3nn's ``TensorProduct`` without torch.

    ``out[w] = sum over instructions of factor * sum over u, v of weight[u, v, w] C(x1[u], x2[v])`` for the mode uvw;
    the other modes tie channels together (uvu, uvv, uuw, uuu, uvuv) or take each pair of channels once (uvu<v, u<vw).

    Args:
        irreps_in1, irreps_in2, irreps_out: irreps, as strings or :class:`Irreps`.
        instructions: tuples ``(i_in1, i_in2, i_out, mode, has_weight[, path_weight])`` of block numbers; the path
            weight stands under the square root, and a negative one is minus the root of its size.
        in1_var, in2_var, out_var: variances, one a block.
        irrep_normalization: ``component`` (unit-variance components give unit-variance components), ``norm`` or
            ``none`` (``C`` has Frobenius norm 1).
        path_normalization: ``element``, ``path`` or ``none``: how the number of terms is divided out.
        layout: ``mul_ir`` (components fastest) or ``ir_mul`` (copies fastest), of both inputs and the output.

    Weights are one flat axis, instruction by instruction, row-major in (u, v, w), in either layout.

    Raises:
        TypeError, ValueError: irreps, instructions or names that are malformed or do not fit each other.

    Example:
        >>> import numpy as np
        >>> p = TensorProduct("2x1o", "1o", "2x0e", [(0, 0, 0, "uvu", True)])
        >>> p.weight_numel, p(np.ones(6), np.ones(3), np.ones(2)).shape
        (2, (2,))
    """

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike,
        instructions: Iterable[Any],
        *,
        in1_var: Iterable[float] | None = None,
        in2_var: Iterable[float] | None = None,
        out_var: Iterable[float] | None = None,
        irrep_normalization: str = "component",
        path_normalization: str = "element",
        layout: str = "mul_ir",
    ) -> None:
        self._build(
            irreps_in1,
            irreps_in2,
            irreps_out,
            instructions,
            in1_var=in1_var,
            in2_var=in2_var,
            out_var=out_var,
            irrep_normalization=irrep_normalization,
            path_normalization=path_normalization,
            layout=layout,
        )

    def _build(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike,
        instructions: Iterable[Any],
        *,
        in1_var: Iterable[float] | None = None,
        in2_var: Iterable[float] | None = None,
        out_var: Iterable[float] | None = None,
        irrep_normalization: str = "component",
        path_normalization: str = "element",
        layout: str = "mul_ir",
        method: str | None = None,
    ) -> None:
        """Fill in the operator; the arguments are those of the constructor, and the method if there are any."""
        irreps = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        read = read_instructions(instructions, *irreps)
        variances = (
            read_variances("in1_var", in1_var, irreps[0]),
            read_variances("in2_var", in2_var, irreps[1]),
            read_variances("out_var", out_var, irreps[2]),
        )
        check_choice("irrep_normalization", irrep_normalization, IRREP_NORMALIZATIONS)
        check_choice("path_normalization", path_normalization, PATH_NORMALIZATIONS)
        factors = normalization_coefficients(read, irreps, variances, irrep_normalization, path_normalization)
        form, weight_numel = make_form(read, factors, irreps, layout)
        weighted = any(ins.has_weight for ins in read)
        arguments = {
            "irreps_in1": irreps[0],
            "irreps_in2": irreps[1],
            "irreps_out": irreps[2],
            "instructions": read,
            "in1_var": variances[0],
            "in2_var": variances[1],
            "out_var": variances[2],
            "irrep_normalization": irrep_normalization,
            "path_normalization": path_normalization,
            "layout": layout,
            **({} if method is None else {"method": method}),
        }
        # The grid overtakes the coefficients at no degree in reach, so that auto has no choice (docs/performance.md).
        chosen = "grid" if method == "grid" else "direct"
        methods = Methods.of(chosen, form, {"grid": lambda: pairwise_grid_plan(form)})
        operands = (irreps[0], irreps[1], *([Irreps([(weight_numel, "0e")])] if weighted else []), irreps[2])
        self._initialize(arguments, form, methods, operands, (0, 1, 2) if weighted else (0, 1))

    def __reduce__(self) -> tuple[Any, ...]:
        # The special products differ in how they choose instructions; what they chose is enough to restore them.
        return _restore, (type(self), dict(self.__dict__["_arguments"]))

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The instructions, checked."""
        return dict(self.__dict__["_arguments"])["instructions"]  # type: ignore[no-any-return]


def _restore(cls: type[TensorProduct], arguments: dict[str, Any]) -> TensorProduct:
    product = cls.__new__(cls)
    product._build(**arguments)
    return product


class UnweightedTensorProduct(TensorProduct):
    """Paths without weights between two features; :meth:`_choose` says which.

    Args:
        irreps_in1, irreps_in2: irreps; in the layout ``mul_ir``, where this moves nothing, neighbouring blocks of the
            same irrep are merged, as in e3nn.
        filter_ir_out: keep only these irreps in the output.
        irrep_normalization, layout: see :class:`TensorProduct`.
    """

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        filter_ir_out: IrrepsLike | None = None,
        *,
        irrep_normalization: str = "component",
        layout: str = "mul_ir",
    ) -> None:
        self._build_chosen(irreps_in1, irreps_in2, filter_ir_out, irrep_normalization, layout)

    def _build_chosen(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        filter_ir_out: IrrepsLike | None,
        irrep_normalization: str,
        layout: str,
        method: str | None = None,
    ) -> None:
        """Fill in the operator with the paths chosen."""
        in1, in2 = merged(irreps_in1, layout), merged(irreps_in2, layout)
        cut1, cut2, out, instructions = self._choose(in1, in2, filter_ir_out)
        if layout == "ir_mul" and (cut1, cut2) != (in1, in2):
            raise ValueError(
                f"in the layout ir_mul the blocks of irreps_in1 and irreps_in2 must line up, got {in1} and {in2}"
            )
        self._build(
            cut1, cut2, out, instructions, irrep_normalization=irrep_normalization, layout=layout, method=method
        )

    @staticmethod
    def _choose(in1: Irreps, in2: Irreps, filter_ir_out: IrrepsLike | None) -> Chosen:
        """The inputs, with their blocks cut if the paths ask for it, the output, and the instructions."""
        raise NotImplementedError


class FullTensorProduct(UnweightedTensorProduct):
    """Every path of two features, each an output of its own: the complete product, without weights.

    Args:
        irreps_in1, irreps_in2: irreps; neighbouring blocks of the same irrep are merged, as in e3nn (in the layout
            ``mul_ir``, where this moves nothing).
        filter_ir_out: keep only these irreps in the output: a string, :class:`Irreps`, or a list of irreps.
        irrep_normalization, layout: see :class:`TensorProduct`.
        method: ``direct`` (sparse coefficients, O(L^5)), ``grid`` (for each pair of blocks one product of two functions
            on a grid and one analysis, see ``products/pairwise_grid.py``; O(L^5) as well, and slower) or ``auto``
            (``direct``). Both give the same numbers to rounding.

    The output has one block a path, sorted by irrep (stable), not merged; in it u (of in1) is outer and v inner.

    Raises:
        TypeError, ValueError: malformed irreps, filter or names.

    Example:
        >>> FullTensorProduct("2x0e + 1o", "1o").irreps_out
        1x0e+2x1o+1x1e+1x2e
    """

    METHODS = ("direct", "grid")

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        filter_ir_out: IrrepsLike | None = None,
        *,
        irrep_normalization: str = "component",
        layout: str = "mul_ir",
        method: str = "auto",
    ) -> None:
        check_choice("method", method, ("auto", *self.METHODS))
        self._build_chosen(irreps_in1, irreps_in2, filter_ir_out, irrep_normalization, layout, method)

    @staticmethod
    def _choose(in1: Irreps, in2: Irreps, filter_ir_out: IrrepsLike | None) -> Chosen:
        paths = all_paths(in1, in2, filter_ir_out, "uvuv", has_weight=False, mul_out=lambda u, v: u * v)
        return in1, in2, *paths


class FullyConnectedTensorProduct(TensorProduct):
    """All paths between given irreps, with a weight for every (u, v, w).

    Args:
        irreps_in1, irreps_in2, irreps_out: irreps.
        in1_var, in2_var, out_var, irrep_normalization, path_normalization, layout: see :class:`TensorProduct`.

    Raises:
        TypeError, ValueError: malformed irreps or names.

    Example:
        >>> FullyConnectedTensorProduct("4x0e + 4x1o", "0e + 1o", "8x0e + 8x1o").weight_numel
        128
    """

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        irreps_out: IrrepsLike,
        *,
        in1_var: Iterable[float] | None = None,
        in2_var: Iterable[float] | None = None,
        out_var: Iterable[float] | None = None,
        irrep_normalization: str = "component",
        path_normalization: str = "element",
        layout: str = "mul_ir",
    ) -> None:
        in1, in2, out = Irreps(irreps_in1), Irreps(irreps_in2), Irreps(irreps_out)
        instructions = [
            (i1, i2, i_out, "uvw", True)
            for i1, block1 in enumerate(in1)
            for i2, block2 in enumerate(in2)
            for i_out, block_out in enumerate(out)
            if block_out.ir in list(block1.ir * block2.ir)
        ]
        super().__init__(
            in1,
            in2,
            out,
            instructions,
            in1_var=in1_var,
            in2_var=in2_var,
            out_var=out_var,
            irrep_normalization=irrep_normalization,
            path_normalization=path_normalization,
            layout=layout,
        )


class ChannelwiseTensorProduct(TensorProduct):
    """All paths, each channel of the first feature by itself (uvu), with a weight for every (u, v): graph convolutions.

    Args:
        irreps_in1: the features of a node, with channels.
        irreps_in2: usually spherical harmonics, multiplicity 1.
        filter_ir_out: keep only these irreps in the output.
        irrep_normalization, path_normalization, layout: see :class:`TensorProduct`.

    The output has one block a path, sorted by irrep (stable), not merged; weights follow the order of the output.

    Raises:
        TypeError, ValueError: malformed irreps, filter or names.

    Example:
        >>> p = ChannelwiseTensorProduct("8x0e + 8x1o", "0e + 1o", "0e + 1o")
        >>> p.irreps_out, p.weight_numel
        (8x0e+8x0e+8x1o+8x1o, 32)
    """

    def __init__(
        self,
        irreps_in1: IrrepsLike,
        irreps_in2: IrrepsLike,
        filter_ir_out: IrrepsLike | None = None,
        *,
        irrep_normalization: str = "component",
        path_normalization: str = "element",
        layout: str = "mul_ir",
    ) -> None:
        in1, in2 = Irreps(irreps_in1), Irreps(irreps_in2)
        out, instructions = all_paths(in1, in2, filter_ir_out, "uvu", has_weight=True, mul_out=lambda u, v: u)
        super().__init__(
            in1,
            in2,
            out,
            sorted(instructions, key=lambda ins: ins[2]),
            irrep_normalization=irrep_normalization,
            path_normalization=path_normalization,
            layout=layout,
        )


class ElementwiseTensorProduct(UnweightedTensorProduct):
    """The copies of two features paired one to one (uuu), without weights.

    Args:
        irreps_in1, irreps_in2: irreps with the same number of copies in all; blocks are cut where the other feature
            changes its irrep, as in e3nn.
        filter_ir_out: keep only these irreps in the output.
        irrep_normalization, layout: see :class:`TensorProduct`.

    Raises:
        ValueError: different numbers of copies, or blocks that would have to be cut in the layout ``ir_mul``.

    Example:
        >>> ElementwiseTensorProduct("5x1o + 5x1e", "10x1e", "0e + 0o").irreps_out
        5x0o+5x0e
    """

    @staticmethod
    def _choose(in1: Irreps, in2: Irreps, filter_ir_out: IrrepsLike | None) -> Chosen:
        if in1.num_irreps != in2.num_irreps:
            raise ValueError(
                f"irreps_in1 and irreps_in2 must have as many copies, got {in1.num_irreps} in {in1} and "
                f"{in2.num_irreps} in {in2}"
            )
        cut1, cut2 = cut_to_pairs(in1, in2)
        keep = reader_of_filter(filter_ir_out)
        blocks: list[tuple[int, Irrep]] = []
        instructions: list[Unread] = []
        for i, (block1, block2) in enumerate(zip(cut1, cut2, strict=True)):
            for ir in block1.ir * block2.ir:
                if keep(ir):
                    instructions.append((i, i, len(blocks), "uuu", False))
                    blocks.append((block1.mul, ir))
        return cut1, cut2, Irreps(blocks), instructions
