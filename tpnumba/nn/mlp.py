"""A multilayer perceptron of scalars: the radial network of interatomic potentials, where most of their arithmetic is.

Rows (edges) are worked in blocks (:mod:`tpnumba.nn.rows`): all layers of one block, then the next, so that what lies
between layers stays in cache and memory does not grow with the number of rows. Backward, the layers of a block are
computed again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np

from tpnumba.backends.namespaces import Context, check_out, is_numpy, require_result
from tpnumba.nn.activations import Activation
from tpnumba.nn.checks import check_count, context_of, require_last_axis, require_parameters, require_shape
from tpnumba.nn.norm import LayerNorm
from tpnumba.nn.rows import BLOCK_ROWS, row_blocks
from tpnumba.products.instructions import check_choice

Array = Any

NORMALIZATIONS = ("fan_in", "none")


class FoldedLayer(NamedTuple):
    """The parameters of a layer, with every constant factor multiplied into them."""

    matrix: Array
    bias: Array | None
    norm_weight: Array | None
    norm_bias: Array | None


class FoldedWeights(NamedTuple):
    """What :meth:`MLP.fold` makes of flat weights; holds for that network alone."""

    network: MLP
    layers: tuple[FoldedLayer, ...]


@dataclass(frozen=True, init=False)
class MLP:
    """``x -> f(... f(x W1 + b1) W2 + b2 ...) Wn + bn``: matrices, an activation after each but the last.

    With ``normalization="fan_in"`` every matrix is divided by the root of the number of its rows: e3nn's
    ``nn.FullyConnectedNet(widths, f)``, if the activation is ``Activation.normalized(name, moment="sampled")``. With
    biases, layer norms and ``normalization="none"`` it is a chain of ``torch.nn.Linear``, ``LayerNorm`` and activation.

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
    block of each layer. It may be called on rows ``a:b`` of a large array, with ``out``. The matrix products have as
    many threads as NumPy's BLAS takes.

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
            given = [part if part.shape[0] else None for part in parts[1:]]
            layers.append(FoldedLayer(parts[0] * factor, *given))
        return FoldedWeights(self, tuple(layers))

    def __call__(self, x: Array, weights: Array | FoldedWeights, *, out: Array | None = None) -> Array:
        """Evaluate the network.

        Args:
            x: shape ``(..., widths[0])``, float32 or float64.
            weights: shape ``(weight_numel,)``, or what :meth:`fold` made of them.
            out: an array of the result's shape and dtype to write into; must not overlap ``x``.

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
        layers = _typed(context, folded)
        if not is_numpy(context.xp):
            result = self._forward(context, context.xp.astype(x, context.dtype, copy=False), layers)
            if out is not None:
                out[...] = result
            return result if out is None else out
        into = out if out is not None and out.flags.c_contiguous else np.empty(shape, context.dtype)
        flat, rows = into.reshape(-1, shape[-1]), x.reshape(-1, self.widths[0])
        for block, part in row_blocks(context, rows):
            hidden = self._hidden(context, part, layers)
            if block.stop - block.start == BLOCK_ROWS and layers[-1].bias is None:
                np.matmul(hidden, layers[-1].matrix, out=flat[block])
            else:
                flat[block] = _affine(hidden, layers[-1])[: block.stop - block.start]
        if out is not None and into is not out:
            out[...] = into
        return into if out is None else out

    def vjp(self, x: Array, cotangent: Array, *, weights: Array | FoldedWeights) -> tuple[Array, Array]:
        """The gradients of ``<cotangent, mlp(x, weights)>``; the layers are computed again, block by block.

        Args:
            x, weights: as for the call.
            cotangent: shape ``(..., widths[-1])``.

        Returns:
            ``(gx, gweights)``: of the shape of ``x``, and ``(weight_numel,)``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        folded, context = self._read({"x": x, "cotangent": cotangent}, weights)
        totals: list[list[Array | None]] = [[None] * 4 for _ in folded.layers]
        gradient = self._backward_all(context, x, cotangent, folded, totals)
        xp, found = context.xp, []
        for (factor, _), shapes, total in zip(self._factors(), self.shapes, totals, strict=True):
            for number, (shape, part) in enumerate(zip(shapes, total, strict=True)):
                if part is None:
                    part = xp.zeros(shape, dtype=context.dtype, device=context.device)  # noqa: PLW2901
                found.append(xp.reshape(part * factor if number == 0 else part, (-1,)))
        return gradient, xp.concat(found)

    def vjp_input(self, x: Array, cotangent: Array, *, weights: Array | FoldedWeights) -> Array:
        """The gradient of ``<cotangent, mlp(x, weights)>`` by ``x`` alone, for less than :meth:`vjp`.

        Args:
            x, weights: as for the call.
            cotangent: shape ``(..., widths[-1])``.

        Returns:
            Of the shape of ``x``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        folded, context = self._read({"x": x, "cotangent": cotangent}, weights)
        return self._backward_all(context, x, cotangent, folded, None)

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
        xp, layers = context.xp, _typed(context, folded)
        x, t = (xp.astype(array, context.dtype, copy=False) for array in (x, tangent))
        for layer in layers[:-1]:
            z, t = _affine(x, layer), t @ layer.matrix
            if self.activation is None:
                x = z
            else:
                x, slope = self.activation.raw_derivative(xp, z, scaled=False)
                t = t * slope
        return t @ layers[-1].matrix

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
            z = _affine(x, layer)
            if layer.norm_weight is not None:
                z = self._norm(layer)(z, layer.norm_weight, layer.norm_bias)
            x = z if self.activation is None else self.activation.raw(context.xp, z, scaled=False)[0]
        return x

    def _forward(self, context: Context, x: Array, layers: Sequence[FoldedLayer]) -> Array:
        return _affine(self._hidden(context, x, layers), layers[-1])

    def _norm(self, layer: FoldedLayer) -> LayerNorm:
        return LayerNorm(f"{layer.matrix.shape[1]}x0e", eps=self.eps)

    def _backward_all(
        self,
        context: Context,
        x: Array,
        cotangent: Array,
        folded: FoldedWeights,
        totals: list[list[Array | None]] | None,
    ) -> Array:
        """The gradient by ``x``; those by the parameters are added to ``totals``."""
        xp, layers = context.xp, _typed(context, folded)
        if not is_numpy(xp):
            flat = xp.reshape(xp.astype(x, context.dtype, copy=False), (-1, self.widths[0]))
            g = xp.reshape(xp.astype(cotangent, context.dtype, copy=False), (-1, self.widths[-1]))
            return xp.reshape(self._backward(context, flat, g, layers, totals), tuple(x.shape))
        gradient = np.empty(x.shape, context.dtype)
        rows, flat = x.reshape(-1, self.widths[0]), gradient.reshape(-1, self.widths[0])
        pairs = zip(row_blocks(context, rows), row_blocks(context, cotangent.reshape(-1, self.widths[-1])), strict=True)
        for (block, part), (_, g) in pairs:
            flat[block] = self._backward(context, part, g, layers, totals)[: block.stop - block.start]
        return gradient

    def _backward(
        self,
        context: Context,
        x: Array,
        g: Array,
        layers: Sequence[FoldedLayer],
        totals: list[list[Array | None]] | None,
    ) -> Array:
        """The gradient of the rows of one block, with every layer computed again."""
        xp = context.xp
        inputs, raw = [x], []
        slopes: list[Array | None] = []
        for layer in layers[:-1]:
            z = _affine(inputs[-1], layer)
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
                _add(totals[i], 0, xp.matrix_transpose(inputs[i]) @ g)
                if layer.bias is not None:
                    _add(totals[i], 1, xp.sum(g, axis=0))
            g = g @ xp.matrix_transpose(layer.matrix)
            if i == 0:
                break
            if slopes[i - 1] is not None:
                g = g * slopes[i - 1]
            before = layers[i - 1]
            if before.norm_weight is not None:
                g, of_weights, of_biases = self._norm(before).vjp(raw[i - 1], g, weights=before.norm_weight)
                if totals is not None:
                    _add(totals[i - 1], 2, of_weights)
                    _add(totals[i - 1], 3, of_biases)
        return g


def _affine(x: Array, layer: FoldedLayer) -> Array:
    product = x @ layer.matrix
    return product if layer.bias is None else product + layer.bias


def _add(totals: list[Array | None], number: int, part: Array) -> None:
    totals[number] = part if totals[number] is None else totals[number] + part


def _typed(context: Context, folded: FoldedWeights) -> list[FoldedLayer]:
    """The layers in the dtype of the context."""
    astype = context.xp.astype
    return [
        FoldedLayer(*(None if part is None else astype(part, context.dtype, copy=False) for part in layer))
        for layer in folded.layers
    ]
