"""Equivariant linear maps: a matrix between the copies of equal irreps, and biases of scalars."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod, sqrt
from typing import Any, NamedTuple

from tpnumba.backends.cpu.runtime.threads import default_threads
from tpnumba.backends.namespaces import Context, check_out, is_numpy, require_result
from tpnumba.backends.registry import resolve_threads
from tpnumba.irreps import Irreps, check_degree
from tpnumba.nn import blocks, folded_linear
from tpnumba.nn.checks import check_number, context_of, given, require_last_axis, require_numpy, require_parameters
from tpnumba.nn.folded_linear import FoldedLinear
from tpnumba.nn.matmul import matmul
from tpnumba.plans.base import LAYOUTS
from tpnumba.products.form import require_shape
from tpnumba.products.instructions import check_choice

Array = Any

PATH_NORMALIZATIONS = ("element", "path", "none")


class LinearPath(NamedTuple):
    """One matrix of a linear map: from a block to a block, at a place of the weights, with a factor in front."""

    i_in: int
    i_out: int
    weights: slice
    shape: tuple[int, int]
    factor: float


@dataclass(frozen=True, init=False)
class Linear:
    """The equivariant linear map of features, with biases on scalars.

    ``out[w] = factor * sum over u of weight[u, w] x[u] (+ bias[w])`` for each component and path. As e3nn's
    ``o3.Linear``, but weights and biases are arguments, the same for all samples; evaluated as one product of matrices
    for each path, or of NumPy arrays for all blocks that are joined with each other.

    Args:
        irreps_in, irreps_out: irreps, as strings or :class:`tpnumba.Irreps`.
        instructions: pairs ``(i_in, i_out)`` of blocks of equal irreps; by default all of them.
        biases: True for a bias on every scalar ``0e`` of the output, or one bool a block.
        path_normalization: the factor is one over the root of the number of copies that are summed: those of all paths
            to the block (``element``), or of this path alone times the number of paths (``path``); or it is 1
            (``none``).
        layout: ``mul_ir`` or ``ir_mul``, of input and output.

    Weights are one flat axis, path by path, row-major in (u, w); biases block by block.

    Raises:
        TypeError, ValueError: irreps, instructions or names that are malformed or do not fit each other.

    Example:
        >>> import numpy as np
        >>> linear = Linear("2x0e + 1o", "0e + 2x1o", biases=True)
        >>> linear.weight_numel, linear.bias_numel
        (4, 1)
        >>> linear(np.ones(5), np.ones(4), np.array([10.0])).round(4)
        array([11.4142,  1.    ,  1.    ,  1.    ,  1.    ,  1.    ,  1.    ])
    """

    irreps_in: Irreps
    irreps_out: Irreps
    instructions: tuple[tuple[int, int], ...]
    biases: tuple[bool, ...]
    path_normalization: str
    layout: str

    def __init__(
        self,
        irreps_in: Any,
        irreps_out: Any,
        *,
        instructions: Iterable[tuple[int, int]] | None = None,
        biases: bool | Sequence[bool] = False,
        path_normalization: str = "element",
        layout: str = "mul_ir",
    ) -> None:
        first, last = Irreps(irreps_in), Irreps(irreps_out)
        fields = {
            "irreps_in": first,
            "irreps_out": last,
            "instructions": _read_instructions(instructions, first, last),
            "biases": _read_biases(biases, last),
            "path_normalization": check_choice("path_normalization", path_normalization, PATH_NORMALIZATIONS),
            "layout": check_choice("layout", layout, LAYOUTS),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def paths(self) -> tuple[LinearPath, ...]:
        """The matrices, in the order of the weights."""
        return _paths(self)

    @property
    def weight_numel(self) -> int:
        """The number of weights."""
        return sum(prod(path.shape) for path in self.paths)

    @property
    def bias_numel(self) -> int:
        """The number of biases."""
        return sum(mul for (mul, _), biased in zip(self.irreps_out, self.biases, strict=True) if biased)

    def fold(self, weights: Array, biases: Array | None = None, *, factor: float = 1.0) -> FoldedLinear:
        """Put weights and factors into the matrices that are multiplied, once for many calls.

        Args:
            weights: shape ``(weight_numel,)``, float32 or float64, of NumPy.
            biases: shape ``(bias_numel,)``, if there are any.
            factor: a finite number that multiplies the weights.

        Raises:
            TypeError, ValueError: not such arrays, or not such a number.
        """
        named = given(weights=weights, biases=biases)
        context = context_of(named)
        require_numpy("Linear.fold", context)
        require_parameters("weights", weights, self.weight_numel)
        require_parameters("biases", biases, self.bias_numel)
        return folded_linear.fold(self, context, weights, biases, check_number("factor", factor))

    def __call__(
        self,
        x: Array,
        weights: Array | FoldedLinear,
        biases: Array | None = None,
        *,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> Array:
        """Evaluate the map.

        Args:
            x: shape ``(..., irreps_in.dim)``, float32 or float64.
            weights: shape ``(weight_numel,)``; or what :meth:`fold` made of them and of the biases.
            biases: shape ``(bias_numel,)``, if there are any.
            out: an array of the result's shape and dtype to write into; must not overlap an input.
            num_threads: that share the rows of NumPy arrays; by default ``TPNUMBA_NUM_THREADS``, or all cores.

        Returns:
            Shape ``(..., irreps_out.dim)``.

        Raises:
            TypeError, ValueError: not such arrays.
            MemoryError: the result would not fit.
        """
        folded, context = self._read({"x": x}, weights, biases)
        require_last_axis("x", x, self.irreps_in.dim, self.irreps_in)
        shape = (*x.shape[:-1], self.irreps_out.dim)
        threads = resolve_threads(num_threads) or default_threads()
        if out is None:
            require_result(shape, context)
        else:
            check_out(out, shape, context, given(x=x, weights=None if folded else weights, biases=biases))
        if folded is not None:
            result = folded_linear.multiply(context, folded, x, out, threads)
            if result is not None:
                return result
            weights, biases = folded.weights, folded.biases
        result = self._apply(context, x, weights, biases)
        if out is None:
            return result
        out[...] = result
        return out

    def vjp(self, x: Array, cotangent: Array, *, weights: Array) -> tuple[Array, ...]:
        """The gradients of ``<cotangent, linear(x, weights, biases)>``.

        Args:
            x, weights: as for the call.
            cotangent: shape ``(..., irreps_out.dim)``.

        Returns:
            ``(gx, gweights)`` or ``(gx, gweights, gbiases)``, of the shapes of the arguments.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = context_of({"x": x, "weights": weights, "cotangent": cotangent})
        xp = context.xp
        require_last_axis("x", x, self.irreps_in.dim, self.irreps_in)
        require_shape("cotangent", cotangent, (*x.shape[:-1], self.irreps_out.dim))
        gradient = self.vjp_input(_of(context, cotangent), weights=weights)
        count = prod(x.shape[:-1])
        into = blocks.split(context, _of(context, x), self.irreps_in, self.layout)
        from_ = blocks.split(context, _of(context, cotangent), self.irreps_out, self.layout)
        parts = []
        for path in self.paths:
            rows = count * self.irreps_in[path.i_in].ir.dim
            a = xp.reshape(into[path.i_in], (rows, path.shape[0]))
            b = xp.reshape(from_[path.i_out], (rows, path.shape[1]))
            parts.append(xp.reshape(matmul(context, xp.matrix_transpose(a), b) * path.factor, (-1,)))
        nothing = xp.zeros((0,), dtype=context.dtype, device=context.device)
        of_weights = xp.concat([nothing, *parts])
        if not self.bias_numel:
            return gradient, of_weights
        of_biases = [
            xp.sum(xp.reshape(block, (count, block.shape[-1])), axis=0)
            for block, biased in zip(from_, self.biases, strict=True)
            if biased
        ]
        return gradient, of_weights, xp.concat(of_biases)

    def vjp_input(
        self,
        cotangent: Array,
        *,
        weights: Array | FoldedLinear,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> Array:
        """The gradient of ``<cotangent, linear(x, weights, biases)>`` by ``x`` alone, of which it is independent.

        Args:
            cotangent: shape ``(..., irreps_out.dim)``.
            weights, num_threads: as for the call.
            out: an array of the gradient's shape and dtype to write into; must not overlap an input.

        Returns:
            Shape ``(..., irreps_in.dim)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        folded, context = self._read({"cotangent": cotangent}, weights, None, biased=False)
        require_last_axis("cotangent", cotangent, self.irreps_out.dim, self.irreps_out)
        shape = (*cotangent.shape[:-1], self.irreps_in.dim)
        threads = resolve_threads(num_threads) or default_threads()
        if out is not None:
            check_out(out, shape, context, given(cotangent=cotangent, weights=None if folded else weights))
        if folded is not None:
            result = folded_linear.multiply(context, folded, cotangent, out, threads, gradient=True)
            if result is not None:
                return result
            weights = folded.weights
        xp, w = context.xp, _of(context, weights)
        steps = [
            (path.i_out, path.i_in, xp.matrix_transpose(xp.reshape(w[path.weights], path.shape) * path.factor))
            for path in self.paths
        ]
        result = self._map(context, _of(context, cotangent), (self.irreps_out, self.irreps_in), steps, None)
        if out is None:
            return result
        out[...] = result
        return out

    def jvp(
        self,
        x: Array,
        tangent: Array,
        *,
        weights: Array,
        tweights: Array | None = None,
        tbiases: Array | None = None,
    ) -> Array:
        """The derivative of the map along tangents of ``x``, ``weights`` and ``biases`` (none: zero).

        Args:
            x, weights: as for the call.
            tangent, tweights, tbiases: of the shapes of ``x``, weights and biases.

        Returns:
            Shape ``(..., irreps_out.dim)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        named = given(x=x, tangent=tangent, weights=weights, tweights=tweights, tbiases=tbiases)
        context = context_of(named)
        require_last_axis("x", x, self.irreps_in.dim, self.irreps_in)
        require_shape("tangent", tangent, tuple(x.shape))
        require_parameters("weights", weights, self.weight_numel)
        for name, array, size in (("tweights", tweights, self.weight_numel), ("tbiases", tbiases, self.bias_numel)):
            if array is not None:
                require_shape(name, array, (size,))
        result = self._apply(context, tangent, weights, tbiases)
        return result if tweights is None else result + self._apply(context, x, tweights, None)

    def _read(
        self, named: dict[str, Array], weights: Array | FoldedLinear, biases: Array | None, *, biased: bool = True
    ) -> tuple[FoldedLinear | None, Context]:
        """The folded weights of NumPy arrays, None of others; and the context of all arrays."""
        if isinstance(weights, FoldedLinear):
            if weights.linear != self:
                raise ValueError(f"weights were folded for {weights.linear!r}, not for {self!r}")
            if biases is not None:
                raise ValueError("biases must be left out with folded weights, which hold them")
            context = context_of({**named, "weights": weights.weights})
            require_numpy("Linear with folded weights", context)
            return weights, context
        context = context_of(given(**named, weights=weights, biases=biases))
        require_parameters("weights", weights, self.weight_numel)
        if biased:
            require_parameters("biases", biases, self.bias_numel)
        return (folded_linear.fold(self, context, weights, biases, 1.0) if is_numpy(context.xp) else None), context

    def _apply(self, context: Context, x: Array, weights: Array, biases: Array | None) -> Array:
        w = _of(context, weights)
        steps = [
            (path.i_in, path.i_out, context.xp.reshape(w[path.weights], path.shape) * path.factor)
            for path in self.paths
        ]
        added = None if biases is None else _of(context, biases)
        return self._map(context, _of(context, x), (self.irreps_in, self.irreps_out), steps, added)

    def _map(
        self,
        context: Context,
        x: Array,
        between: tuple[Irreps, Irreps],
        steps: list[tuple[int, int, Array]],
        biases: Array | None,
    ) -> Array:
        """The sum over ``(from, to, matrix)`` of block times matrix; all rows of a block are those of one product."""
        xp, leading = context.xp, tuple(x.shape[:-1])
        into = blocks.split(context, x, between[0], self.layout)
        found: list[Array | None] = [None] * len(between[1])
        for i, k, matrix in steps:
            block = into[i]
            rows = prod(leading) * block.shape[-2]
            part = matmul(context, xp.reshape(block, (rows, block.shape[-1])), matrix)
            found[k] = part if found[k] is None else found[k] + part
        parts, start = [], 0
        for k, (mul, ir) in enumerate(between[1]):
            part = found[k]
            if part is None:
                part = xp.zeros((prod(leading) * ir.dim, mul), dtype=context.dtype, device=context.device)
            if biases is not None and self.biases[k]:
                part = part + biases[start : start + mul]
                start += mul
            parts.append(xp.reshape(part, (*leading, ir.dim, mul)))
        return blocks.join(context, parts, leading, self.layout)


def _of(context: Context, array: Array) -> Array:
    """The array in the dtype of the context."""
    return context.xp.astype(array, context.dtype, copy=False)


@lru_cache(maxsize=1024)
def _paths(linear: Linear) -> tuple[LinearPath, ...]:
    paths, start = [], 0
    for i, k in linear.instructions:
        shape = linear.irreps_in[i].mul, linear.irreps_out[k].mul
        others = [linear.irreps_in[a].mul for a, b in linear.instructions if b == k]
        summed = {"element": sum(others), "path": shape[0] * len(others), "none": 1}[linear.path_normalization]
        paths.append(LinearPath(i, k, slice(start, start + prod(shape)), shape, 1 / sqrt(summed or 1)))
        start += prod(shape)
    return tuple(paths)


def _read_instructions(
    instructions: Iterable[tuple[int, int]] | None, irreps_in: Irreps, irreps_out: Irreps
) -> tuple[tuple[int, int], ...]:
    if instructions is None:
        return tuple(
            (i, k) for i, block in enumerate(irreps_in) for k, other in enumerate(irreps_out) if block.ir == other.ir
        )
    read = []
    for number, item in enumerate(instructions):
        where = f"instruction {number}"
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise TypeError(f"{where} must be (i_in, i_out), got {item!r}")
        for name, index, irreps in (("i_in", item[0], irreps_in), ("i_out", item[1], irreps_out)):
            if check_degree(f"{name} of {where}", index) >= len(irreps):
                raise ValueError(f"{name} of {where} must be below {len(irreps)}, the number of blocks, got {index}")
        a, b = irreps_in[item[0]], irreps_out[item[1]]
        if a.ir != b.ir:
            raise ValueError(f"{where} must join blocks of equal irreps, got {a} and {b}")
        read.append((int(item[0]), int(item[1])))
    return tuple(read)


def _read_biases(biases: Any, irreps_out: Irreps) -> tuple[bool, ...]:
    if isinstance(biases, bool):
        return tuple(biases and block.ir.is_scalar() for block in irreps_out)
    if not isinstance(biases, tuple | list) or not all(isinstance(item, bool) for item in biases):
        raise TypeError(f"biases must be True, False or one of these for each block of irreps_out, got {biases!r}")
    if len(biases) != len(irreps_out):
        raise ValueError(f"biases must have {len(irreps_out)} items, one a block of {irreps_out}, got {len(biases)}")
    for block, biased in zip(irreps_out, biases, strict=True):
        if biased and not block.ir.is_scalar():
            raise ValueError(f"only scalars 0e can have a bias, got one for {block}")
    return tuple(biases)
