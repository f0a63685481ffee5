"""The self-connection of an atom: a linear map of its features with matrices of its element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np

from tpnumba.backends.namespaces import Context
from tpnumba.irreps import Irreps
from tpnumba.nn.checks import (
    check_count,
    context_of,
    require_last_axis,
    require_numpy,
    require_parameters,
)
from tpnumba.nn.linear import Linear
from tpnumba.products.form import require_shape

Array = Any


@dataclass(frozen=True, init=False)
class SelfConnection:
    """A linear map of the features of atoms, with other weights for each element.

    The numbers and the order of the weights are those of
    ``FullyConnectedTensorProduct(irreps_in, f"{num_elements}x0e", irreps_out)`` with the elements as one-hot vectors,
    normalised by component and element; but rows of an element are multiplied by the matrices of that element alone. So
    the factor is one over the root of copies that are summed times ``num_elements``. NumPy arrays only.

    Args:
        irreps_in, irreps_out: irreps.
        num_elements: the number of elements that a model knows.
        layout: ``mul_ir`` or ``ir_mul``.

    Weights are one flat axis: path by path, row-major in (u, element, w).

    Raises:
        TypeError, ValueError: malformed irreps, number or layout.

    Example:
        >>> import numpy as np
        >>> connection = SelfConnection("0e + 1o", "1o", 2)
        >>> connection(np.ones((2, 4)), np.array([0, 1]), np.array([1.0, 2.0])).round(4)
        array([[0.7071, 0.7071, 0.7071],
               [1.4142, 1.4142, 1.4142]])
    """

    irreps_in: Irreps
    irreps_out: Irreps
    num_elements: int
    layout: str

    def __init__(self, irreps_in: Any, irreps_out: Any, num_elements: int, *, layout: str = "mul_ir") -> None:
        linear = Linear(irreps_in, irreps_out, layout=layout)
        fields = {
            "irreps_in": linear.irreps_in,
            "irreps_out": linear.irreps_out,
            "num_elements": check_count("num_elements", num_elements),
            "layout": layout,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def linear(self) -> Linear:
        """The map of one element."""
        return Linear(self.irreps_in, self.irreps_out, layout=self.layout)

    @property
    def weight_numel(self) -> int:
        """The number of weights of all elements."""
        return self.linear.weight_numel * self.num_elements

    def __call__(self, x: Array, elements: Array, weights: Array) -> Array:
        """Evaluate the map.

        Args:
            x: features of atoms, shape ``(n, irreps_in.dim)``, float32 or float64.
            elements: the number of each atom's element, from 0 on: integers of shape ``(n,)``.
            weights: shape ``(weight_numel,)``.

        Returns:
            Shape ``(n, irreps_out.dim)``.

        Raises:
            TypeError, ValueError: not such arrays, or an element outside ``num_elements`` (the atom is named).
        """
        context = self._check({"x": x}, elements, weights)
        result = np.empty((x.shape[0], self.irreps_out.dim), context.dtype)
        linear = self.linear
        for rows, of_element in self._elements(elements, weights):
            result[rows] = linear(x[rows], of_element)
        return result

    def vjp(self, x: Array, elements: Array, cotangent: Array, *, weights: Array) -> tuple[Array, Array]:
        """The gradients of ``<cotangent, call(x, elements, weights)>``.

        Args:
            x, elements, weights: as for the call.
            cotangent: shape ``(n, irreps_out.dim)``.

        Returns:
            ``(gx, gweights)``, of the shapes of ``x`` and ``weights``.

        Raises:
            TypeError, ValueError: as the call.
        """
        context = self._check({"x": x, "cotangent": cotangent}, elements, weights)
        require_shape("cotangent", cotangent, (x.shape[0], self.irreps_out.dim))
        gradient = np.empty(x.shape, context.dtype)
        of_weights = np.zeros(self.weight_numel, context.dtype)
        linear = self.linear
        present = np.unique(elements)
        for element, (rows, of_element) in zip(present, self._elements(elements, weights), strict=True):
            gradient[rows], found = linear.vjp(x[rows], cotangent[rows], weights=of_element)
            for whole, part in zip(self._matrices(of_weights), linear.paths, strict=True):
                whole[:, element] = found[part.weights].reshape(part.shape) / sqrt(self.num_elements)
        return gradient, of_weights

    def vjp_input(self, elements: Array, cotangent: Array, *, weights: Array) -> Array:
        """The gradient of ``<cotangent, call(x, elements, weights)>`` by ``x`` alone, of which it is independent.

        Args:
            elements, weights: as for the call.
            cotangent: shape ``(n, irreps_out.dim)``.

        Returns:
            Shape ``(n, irreps_in.dim)``.

        Raises:
            TypeError, ValueError: as the call.
        """
        context = self._check({"cotangent": cotangent}, elements, weights)
        gradient = np.empty((cotangent.shape[0], self.irreps_in.dim), context.dtype)
        linear = self.linear
        for rows, of_element in self._elements(elements, weights):
            gradient[rows] = linear.vjp_input(cotangent[rows], weights=of_element)
        return gradient

    def _check(self, named: dict[str, Array], elements: Array, weights: Array) -> Context:
        context = context_of({**named, "weights": weights})
        require_numpy(type(self).__name__, context)
        for name, array in named.items():
            irreps = self.irreps_in if name == "x" else self.irreps_out
            require_last_axis(name, array, irreps.dim, irreps)
            if array.ndim != 2:
                raise ValueError(f"{name} must have two axes, got shape {array.shape}")
        require_parameters("weights", weights, self.weight_numel)
        if not isinstance(elements, np.ndarray) or elements.dtype.kind not in "iu":
            raise TypeError(f"elements must be a NumPy array of integers, got {getattr(elements, 'dtype', elements)!r}")
        require_shape("elements", elements, (next(iter(named.values())).shape[0],))
        wrong = np.flatnonzero((elements < 0) | (elements >= self.num_elements))
        if wrong.size:
            atom = int(wrong[0])
            raise ValueError(
                f"elements must be from 0 to {self.num_elements - 1}, got {elements[atom]} for atom {atom}"
            )
        return context

    def _matrices(self, weights: Array) -> list[Array]:
        """Views of flat weights: an array (u, element, w) for each path."""
        found, start = [], 0
        for path in self.linear.paths:
            u, w = path.shape
            size = prod((u, self.num_elements, w))
            found.append(weights[start : start + size].reshape(u, self.num_elements, w))
            start += size
        return found

    def _elements(self, elements: Array, weights: Array) -> Iterator[tuple[Array, Array]]:
        """For each element that occurs, in order: its atoms, and the weights of its linear map."""
        matrices = self._matrices(weights)
        nothing = np.zeros(0, weights.dtype)
        for element in np.unique(elements):
            parts = [matrix[:, element].reshape(-1) for matrix in matrices]
            yield np.flatnonzero(elements == element), np.concatenate([nothing, *parts]) / sqrt(self.num_elements)
