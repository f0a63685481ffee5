"""Layer normalisation of features: mean zero for scalars, unit mean square for the copies of every block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tpnumba.backends.namespaces import Context
from tpnumba.irreps import Irreps
from tpnumba.nn import blocks
from tpnumba.nn.checks import check_number, context_of, given, require_last_axis, require_parameters
from tpnumba.plans.base import LAYOUTS
from tpnumba.products.form import require_shape
from tpnumba.products.instructions import check_choice

Array = Any


@dataclass(frozen=True, init=False)
class LayerNorm:
    """Each block over the root of the mean square of its numbers; of scalars ``0e`` the mean is taken off first.

    ``y = weight * (x - mean) / sqrt(mean of (x - mean)^2 + eps) + bias``; the mean square of a block is over copies and
    components, so it is invariant. For irreps such as ``64x0e`` this is ``torch.nn.LayerNorm(64)`` (Ba, Kiros, Hinton,
    arXiv:1607.06450); for others it is the layer norm of Liao, Smidt, *Equiformer* (ICLR 2023), in the
    normalisation by component.

    Args:
        irreps: of the features.
        eps: under the root.
        affine: whether there are weights, one a copy, and biases, one a scalar ``0e``.
        layout: ``mul_ir`` or ``ir_mul``.

    Raises:
        TypeError, ValueError: malformed irreps, names or numbers.

    Example:
        >>> import numpy as np
        >>> norm = LayerNorm("2x0e + 1o", affine=False)
        >>> norm(np.array([1.0, 3.0, 0.0, 3.0, 4.0])).round(4)
        array([-1.    ,  1.    ,  0.    ,  1.0392,  1.3856])
    """

    irreps: Irreps
    eps: float
    affine: bool
    layout: str

    def __init__(self, irreps: Any, *, eps: float = 1e-5, affine: bool = True, layout: str = "mul_ir") -> None:
        if not isinstance(affine, bool):
            raise TypeError(f"affine must be True or False, got {affine!r}")
        fields = {
            "irreps": Irreps(irreps),
            "eps": check_number("eps", eps, positive=True),
            "affine": affine,
            "layout": check_choice("layout", layout, LAYOUTS),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def weight_numel(self) -> int:
        """The number of weights, that of copies if there are any."""
        return self.irreps.num_irreps if self.affine else 0

    @property
    def bias_numel(self) -> int:
        """The number of biases: that of scalars ``0e``, if there are any."""
        return self.irreps.count("0e") if self.affine else 0

    def __call__(self, x: Array, weights: Array | None = None, biases: Array | None = None) -> Array:
        """Normalise features.

        Args:
            x: shape ``(..., irreps.dim)``, float32 or float64.
            weights, biases: shapes ``(weight_numel,)`` and ``(bias_numel,)``, if there are any.

        Returns:
            Of the shape of ``x``.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = self._check(given(x=x, weights=weights, biases=biases), weights)
        require_parameters("biases", biases, self.bias_numel)
        results, w, b = [], 0, 0
        for (mul, ir), block in zip(self.irreps, self._split(context, x), strict=True):
            result, _ = self._standard(context, block, centred=ir.is_scalar())
            if self.affine:
                assert weights is not None
                result = result * weights[w : w + mul]
                if ir.is_scalar():
                    assert biases is not None
                    result = result + biases[b : b + mul]
                    b += mul
            w += mul
            results.append(result)
        return blocks.join(context, results, tuple(x.shape[:-1]), self.layout)

    def vjp(self, x: Array, cotangent: Array, *, weights: Array | None = None) -> tuple[Array, ...]:
        """The gradients of ``<cotangent, norm(x, weights, biases)>``.

        With ``y = (x - mean) / s`` and g the cotangent times the weights, ``gx = (g - mean g - y mean(g y)) / s``,
        means over the block; the first mean for scalars only.

        Args:
            x, weights: as for the call.
            cotangent: of the shape of ``x``.

        Returns:
            ``(gx, gweights, gbiases)``, or ``(gx,)`` if the norm is not affine.

        Raises:
            TypeError, ValueError: not such arrays.
        """
        context = self._check(given(x=x, cotangent=cotangent, weights=weights), weights)
        require_shape("cotangent", cotangent, tuple(x.shape))
        xp, start = context.xp, 0
        results, of_weights, of_biases = [], [], []
        pairs = zip(self.irreps, self._split(context, x), self._split(context, cotangent), strict=True)
        for (mul, ir), block, g in pairs:
            if mul == 0:
                results.append(block)
                continue
            y, over = self._standard(context, block, centred=ir.is_scalar())
            if self.affine:
                assert weights is not None
                leading = tuple(range(y.ndim - 1))
                of_weights.append(xp.sum(g * y, axis=leading))
                if ir.is_scalar():
                    of_biases.append(xp.sum(g, axis=leading))
                g = g * weights[start : start + mul]  # noqa: PLW2901
            start += mul
            part = g - y * xp.mean(g * y, axis=(-2, -1), keepdims=True)
            if ir.is_scalar():
                part = part - xp.mean(g, axis=(-2, -1), keepdims=True)
            results.append(part * over)
        gradient = blocks.join(context, results, tuple(x.shape[:-1]), self.layout)
        if not self.affine:
            return (gradient,)
        nothing = xp.zeros((0,), dtype=context.dtype, device=context.device)
        return gradient, xp.concat([nothing, *of_weights]), xp.concat([nothing, *of_biases])

    def _check(self, named: dict[str, Array], weights: Array | None) -> Context:
        context = context_of(named)
        require_last_axis("x", named["x"], self.irreps.dim, self.irreps)
        require_parameters("weights", weights, self.weight_numel)
        return context

    def _split(self, context: Context, x: Array) -> list[Array]:
        return blocks.split(context, context.xp.astype(x, context.dtype, copy=False), self.irreps, self.layout)

    def _standard(self, context: Context, block: Array, *, centred: bool) -> tuple[Array, Array]:
        """A block with mean square 1, and one over what it was divided by."""
        xp = context.xp
        if block.shape[-1] == 0:
            return block, block
        if centred:
            block = block - xp.mean(block, axis=(-2, -1), keepdims=True)
        over = 1 / xp.sqrt(xp.mean(block * block, axis=(-2, -1), keepdims=True) + self.eps)
        return block * over, over
