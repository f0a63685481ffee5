"""A multilayer perceptron of scalars: the radial network of interatomic potentials, where most of their arithmetic is.

Rows (edges) are worked in blocks (:mod:`tpnumba.nn.rows`): all layers of one block, then the next, so that what lies
between layers stays in cache and memory does not grow with the number of rows. Backward, the layers of a block are
computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from tpnumba.backends.cpu.runtime.threads import default_threads, share
from tpnumba.backends.namespaces import Context, check_out, is_numpy, require_result
from tpnumba.backends.registry import resolve_threads
from tpnumba.nn.activations import Activation
from tpnumba.nn.checks import check_count, context_of, require_last_axis, require_parameters
from tpnumba.nn.folded import FoldedLayer, FoldedWeights, Totals, add, affine, no_totals, typed
from tpnumba.nn.kernels import kernels_of
from tpnumba.nn.matmul import matmul
from tpnumba.nn.norm import LayerNorm
from tpnumba.nn.rows import BLOCK_ROWS, num_blocks, row_block
from tpnumba.products.form import require_shape
from tpnumba.products.instructions import check_choice

Array = Any

NORMALIZATIONS = ("fan_in", "none")

#: For the gradients of the weights, the blocks are summed in at most so many groups, each of which one thread works.
_GROUPS = 16


@dataclass(frozen=True, init=False)
class MLP:
    """A network of scalars: matrices, with an activation after each but the last.

    ``f(f(x W1 + b1) W2 + b2) W3 + b3`` for three layers. With ``normalization="fan_in"`` every matrix is divided by the
    root of the number of its rows: e3nn's ``nn.FullyConnectedNet(widths, f)``, if the activation is
    ``Activation.normalized(name, moment="sampled")``. With biases, layer norms and ``normalization="none"`` it is a
    chain of ``torch.nn.Linear``, ``LayerNorm`` and activation.

    Args:
        widths: numbers of the input, of each hidden layer and of the output.
        activation: an :class:`Activation`; None for none.
        normalization: ``fan_in`` or ``none``.
        biases: whether each layer has one.
        layer_norm: whether each hidden layer is normalised (:class:`LayerNorm`) before its activation.
        eps: of the layer norms.

    Weights are one flat axis, layer by layer: the matrix, row-major in (in, out), which is the transpose of
    ``torch.nn.Linear``'s; the bias; the weights and biases of the layer norm.

    NumPy arrays are worked in blocks of rows: beyond arguments and result, a call or :meth:`vjp` takes memory for a
    block of each layer and thread. It may be called on rows ``a:b`` of a large array, with ``out``.

    Raises:
        TypeError, ValueError: widths or options that are malformed.

    Example:
        >>> import numpy as np
        >>> mlp = MLP([8, 64, 64, 32], Activation.normalized("silu"))
        >>> weights = np.random.default_rng(0).standard_normal(mlp.weight_numel)
        >>> x = np.ones((1000, 8))
        >>> mlp.weight_numel, mlp(x, weights).shape
        (6656, (1000, 32))
        >>> gx, gweights = mlp.vjp(x, np.ones((1000, 32)), weights=weights)
    """

    widths: tuple[int, ...]
    activation: Activation | None
    normalization: str
    biases: bool
    layer_norm: bool
    eps: float

    def __init__(
        self,
        widths: Sequence[int],
        activation: Activation | None,
        *,
        normalization: str = "fan_in",
        biases: bool = False,
        layer_norm: bool = False,
        eps: float = 1e-5,
    ) -> None:
        if not isinstance(widths, tuple | list):
            raise TypeError(f"widths must be a tuple or list of integers, got {widths!r}")
        if len(widths) < 2:
            raise ValueError(f"widths must have an input and an output, got {widths!r}")
        if activation is not None and not isinstance(activation, Activation):
            raise TypeError(f"activation must be an Activation or None, got {activation!r}")
        for name, value in (("biases", biases), ("layer_norm", layer_norm)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        fields: dict[str, Any] = {
            "widths": tuple(check_count(f"widths[{i}]", width) for i, width in enumerate(widths)),
            "activation": activation,
            "normalization": check_choice("normalization", normalization, NORMALIZATIONS),
            "biases": biases,
            "layer_norm": layer_norm,
            "eps": LayerNorm("0e", eps=eps).eps,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def shapes(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """Of each layer, the shapes of its matrix, bias, and norm's weights and biases (``(0,)`` if it has none)."""
        last = len(self.widths) - 2
        found: list[tuple[tuple[int, ...], ...]] = []
        for i, (rows, columns) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            normed = (columns if self.layer_norm and i < last else 0,)
            found.append(((rows, columns), (columns if self.biases else 0,), normed, normed))
        return tuple(found)

    @property
    def weight_numel(self) -> int:
        """The number of weights, biases included."""
        return sum(prod(shape) for layer in self.shapes for shape in layer)

    def fold(self, weights: Array) -> FoldedWeights:
        """Multiply every constant factor into the weights, once for many calls on parts of the rows.

        Args:
            weights: shape ``(weight_numel,)``, float32 or float64.

        Raises:
            TypeError, ValueError: not such an array.
        """
        context = context_of({"weights": weights})
        require_parameters("weights", weights, self.weight_numel)
        layers = []
        for (factor, _), parts in zip(self._factors(), self._split(context, weights), strict=True):
            # Copies: they do not change with the weights, and follow each other in memory, as compiled loops read them.
            bias, norm_weight, norm_bias = (part * 1.0 if part.shape[0] else None for part in parts[1:])
            matrix = parts[0] * factor
            transposed = context.xp.matrix_transpose(matrix)
            if is_numpy(context.xp):  # BLAS is twice as fast where the rows of the second factor are contiguous
                transposed = np.ascontiguousarray(transposed)
            layers.append(FoldedLayer(matrix, bias, norm_weight, norm_bias, transposed))
        return FoldedWeights(self, tuple(layers))

    def __call__(
        self,
        x: Array,
        weights: Array | FoldedWeights,
        *,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> Array:
        """Evaluate the network.

        Args:
            x: shape ``(..., widths[0])``, float32 or float64.
            weights: shape ``(weight_numel,)``, or what :meth:`fold` made of them.
            out: an array of the result's shape and dtype to write into; must not overlap ``x``.
            num_threads: that share the blocks of NumPy arrays; by default ``TPNUMBA_NUM_THREADS``, or all cores.

        Returns:
            Shape ``(..., widths[-1])``.

        Raises:
            TypeError, ValueError: not such arrays.
            MemoryError: the result would not fit.
        """
        folded, context = self._read({"x": x}, weights)
        shape = (*x.shape[:-1], self.widths[-1])
        if out is None:
            require_result(shape, context)
        else:
            check_out(out, shape, context, {"x": x})
        layers = typed(context, folded)
        threads = resolve_threads(num_threads) or default_threads()
        if not is_numpy(context.xp):
            rows = context.xp.reshape(context.xp.astype(x, context.dtype, copy=False), (-1, self.widths[0]))
            result = context.xp.reshape(affine(context, self._hidden(context, rows, layers), layers[-1]), shape)
        else:
            result = out if out is not None and out.flags.c_contiguous else np.empty(shape, context.dtype)
            self._write_rows(context, x.reshape(-1, self.widths[0]), layers, result.reshape(-1, shape[-1]), threads)
        if out is None or result is out:
            return result
        out[...] = result
        return out

    def _write_rows(
        self, context: Context, rows: Array, layers: Sequence[FoldedLayer], into: Array, threads: int
    ) -> None:
        """Evaluate rows into those of another NumPy array, by compiled loops if there are any, else block by block."""
        kernels = self._kernels()
        if kernels is not None:
            found = np.ascontiguousarray(rows, context.dtype)
            kernels.evaluate(_compiled(layers), found, into, threads, activated=self.activation is not None)
            return

        def evaluate(number: int) -> None:
            place, part = row_block(context, rows, number)
            hidden = self._hidden(context, part, layers)
            if place.stop - place.start == BLOCK_ROWS and layers[-1].bias is None:
                matmul(context, hidden, layers[-1].matrix, into[place])
            else:
                into[place] = affine(context, hidden, layers[-1])[: place.stop - place.start]

        share(evaluate, num_blocks(rows), threads)

    def vjp(
        self, x: Array, cotangent: Array, *, weights: Array | FoldedWeights, num_threads: int | None = None
    ) -> tuple[Array, Array]:
        """The gradients of ``<cotangent, mlp(x, weights)>``; the layers are computed again, block by block.

        Args:
            x, weights, num_threads: as for the call.
            cotangent: shape ``(..., widths[-1])``.

        Returns:
            ``(gx, gweights)``: of the shape of ``x``, and ``(weight_numel,)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        folded, context = self._read({"x": x, "cotangent": cotangent}, weights)
        threads = resolve_threads(num_threads) or default_threads()
        gradient, totals = self._backward_all(context, x, cotangent, folded, threads, of_weights=True)
        xp, found = context.xp, []
        for (factor, _), shapes, total in zip(self._factors(), self.shapes, totals, strict=True):
            for number, (shape, part) in enumerate(zip(shapes, total, strict=True)):
                if part is None:
                    part = xp.zeros(shape, dtype=context.dtype, device=context.device)  # noqa: PLW2901
                found.append(xp.reshape(part * factor if number == 0 else part, (-1,)))
        return gradient, xp.concat(found)

    def vjp_input(
        self, x: Array, cotangent: Array, *, weights: Array | FoldedWeights, num_threads: int | None = None
    ) -> Array:
        """The gradient of ``<cotangent, mlp(x, weights)>`` by ``x`` alone, for less than :meth:`vjp`.

        Args:
            x, weights, num_threads: as for the call.
            cotangent: shape ``(..., widths[-1])``.

        Returns:
            Of the shape of ``x``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        folded, context = self._read({"x": x, "cotangent": cotangent}, weights)
        threads = resolve_threads(num_threads) or default_threads()
        return self._backward_all(context, x, cotangent, folded, threads, of_weights=False)[0]

    def jvp(self, x: Array, tangent: Array, *, weights: Array | FoldedWeights) -> Array:
        """The derivative of ``mlp(x, weights)`` along a tangent of ``x``: what :class:`SplineTable` is checked by.

        Args:
            x, weights: as for the call; without layer norms.
            tangent: of the shape of ``x``.

        Returns:
            Shape ``(..., widths[-1])``.

        Raises:
            TypeError, ValueError: not such arrays.
            NotImplementedError: the network has layer norms.
        """
        if self.layer_norm:
            raise NotImplementedError("MLP.jvp is not there for networks with layer norms; use vjp")
        folded, context = self._read({"x": x, "tangent": tangent}, weights)
        require_shape("tangent", tangent, tuple(x.shape))
        xp, layers, shape = context.xp, typed(context, folded), (*x.shape[:-1], self.widths[-1])
        x, t = (xp.reshape(xp.astype(array, context.dtype, copy=False), (-1, self.widths[0])) for array in (x, tangent))
        for layer in layers[:-1]:
            z, t = affine(context, x, layer), matmul(context, t, layer.matrix)
            if self.activation is None:
                x = z
            else:
                x, slope = self.activation.raw_derivative(xp, z, scaled=False)
                t = t * slope
        return xp.reshape(matmul(context, t, layers[-1].matrix), shape)

    def _factors(self) -> Iterator[tuple[float, float]]:
        """Of each layer, the factor of its matrix: of fan-in, and the scale of the activation before it."""
        for i, rows in enumerate(self.widths[:-1]):
            scale = self.activation.scale if i and self.activation is not None else 1.0
            fan = 1 / sqrt(rows) if self.normalization == "fan_in" else 1.0
            yield scale * fan, scale

    def _split(self, context: Context, weights: Array) -> Iterator[list[Array]]:
        start = 0
        for shapes in self.shapes:
            parts = []
            for shape in shapes:
                parts.append(context.xp.reshape(weights[start : start + prod(shape)], shape))
                start += prod(shape)
            yield parts

    def _read(self, named: dict[str, Array], weights: Array | FoldedWeights) -> tuple[FoldedWeights, Context]:
        """Checked arguments: the folded weights, and the context of all arrays."""
        folded = weights
        if isinstance(weights, FoldedWeights):
            if weights.network != self:
                raise ValueError(f"weights were folded for {weights.network!r}, not for {self!r}")
            context = context_of({**named, "weights": weights.layers[0].matrix})
        else:
            context = context_of({**named, "weights": weights})
            folded = self.fold(weights)
        require_last_axis("x", named["x"], self.widths[0])
        if "cotangent" in named:
            require_shape("cotangent", named["cotangent"], (*named["x"].shape[:-1], self.widths[-1]))
        return folded, context

    def _hidden(self, context: Context, x: Array, layers: Sequence[FoldedLayer]) -> Array:
        """What the last matrix is applied to; the activation's scale is in that matrix."""
        for layer in layers[:-1]:
            z = affine(context, x, layer)
            if layer.norm_weight is not None:
                z = self._norm(layer)(z, layer.norm_weight, layer.norm_bias)
            x = z if self.activation is None else self.activation.raw(context.xp, z, scaled=False)[0]
        return x

    def _kernels(self) -> Any:
        """The compiled loops over rows; None for networks that have none."""
        known = self.activation is None or self.activation.name == "silu"
        return kernels_of("network.evaluation") if known and not self.layer_norm else None

    def _norm(self, layer: FoldedLayer) -> LayerNorm:
        return LayerNorm(f"{layer.matrix.shape[1]}x0e", eps=self.eps)

    def _backward_all(
        self,
        context: Context,
        x: Array,
        cotangent: Array,
        folded: FoldedWeights,
        threads: int,
        *,
        of_weights: bool,
    ) -> tuple[Array, Totals]:
        """The gradient by ``x``, and those by the folded parameters, if they are asked for."""
        xp, layers = context.xp, typed(context, folded)
        flat, g = xp.reshape(x, (-1, self.widths[0])), xp.reshape(cotangent, (-1, self.widths[-1]))
        if not is_numpy(xp):
            total = no_totals(layers)
            flat, g = (xp.astype(array, context.dtype, copy=False) for array in (flat, g))
            result = self._backward(context, flat, g, layers, total if of_weights else None)
            return xp.reshape(result, tuple(x.shape)), total
        result = np.empty(x.shape, context.dtype)
        into, count = result.reshape(-1, self.widths[0]), num_blocks(flat)
        kernels = self._kernels()
        if kernels is not None:
            rows = (np.ascontiguousarray(array, context.dtype) for array in (flat, g))
            sums = kernels.pull(
                _compiled(layers), *rows, into, threads, activated=self.activation is not None, of_layers=of_weights
            )
            pairs = zip(layers, sums, strict=True) if of_weights else ()
            return result, [
                [matrix, None if layer.bias is None else bias, None, None] for layer, (matrix, bias) in pairs
            ]
        # Sums are those of groups that depend on the number of blocks alone, added in order.
        groups = min(count, _GROUPS) if of_weights else count
        totals = [no_totals(layers) for _ in range(groups if of_weights else 0)]

        def evaluate(group: int) -> None:
            for number in range(group * count // groups, (group + 1) * count // groups):
                place, part = row_block(context, flat, number)
                _, some = row_block(context, g, number)
                found = self._backward(context, part, some, layers, totals[group] if of_weights else None)
                into[place] = found[: place.stop - place.start]

        share(evaluate, groups, threads)
        whole = no_totals(layers)
        for total in totals:
            for one, other in zip(whole, total, strict=True):
                for number, part in enumerate(other):
                    if part is not None:
                        add(one, number, part)
        return result, whole

    def _backward(
        self,
        context: Context,
        x: Array,
        g: Array,
        layers: Sequence[FoldedLayer],
        totals: Totals | None,
    ) -> Array:
        """The gradient of the rows of one block, with every layer computed again."""
        xp = context.xp
        inputs, raw = [x], []
        slopes: list[Array | None] = []
        for layer in layers[:-1]:
            z = affine(context, inputs[-1], layer)
            raw.append(z)
            if layer.norm_weight is not None:
                z = self._norm(layer)(z, layer.norm_weight, layer.norm_bias)
            if self.activation is None:
                inputs.append(z)
                slopes.append(None)
            else:
                value, slope = self.activation.raw_derivative(xp, z, scaled=False)
                inputs.append(value)
                slopes.append(slope)
        for i in reversed(range(len(layers))):
            layer = layers[i]
            if totals is not None:
                add(totals[i], 0, matmul(context, xp.matrix_transpose(inputs[i]), g))
                if layer.bias is not None:
                    add(totals[i], 1, xp.sum(g, axis=0))
            g = matmul(context, g, layer.transposed)
            if i == 0:
                break
            if slopes[i - 1] is not None:
                g = g * slopes[i - 1]
            before = layers[i - 1]
            if before.norm_weight is not None:
                g, of_weights, of_biases = self._norm(before).vjp(raw[i - 1], g, weights=before.norm_weight)
                if totals is not None:
                    add(totals[i - 1], 2, of_weights)
                    add(totals[i - 1], 3, of_biases)
        return g


def _compiled(layers: Sequence[FoldedLayer]) -> list[Any]:
    """The layers as compiled loops read them."""
    from tpnumba.backends.cpu.network.evaluation import Layer

    return [
        Layer(np.ascontiguousarray(layer.matrix), np.ascontiguousarray(layer.transposed), layer.bias)
        for layer in layers
    ]
