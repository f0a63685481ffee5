"""How far a product is from commuting with rotations, measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from tpnumba.irreps import check_degree
from tpnumba.plans.base import ITEMSIZE
from tpnumba.products.base import Operator
from tpnumba.sphere.rotations import rotate


def equivariance_error(
    p: Operator,
    *,
    rotations: int = 8,
    improper: bool = True,
    dtype: str = "float64",
    rng: np.random.Generator | int | None = None,
    backend: str = "auto",
) -> float:
    """The largest deviation of ``p(D x1, D x2)`` from ``D p(x1, x2)``, relative to the largest component of the result.

    Args:
        p: a product; its weights, if any, are drawn at random and not rotated.
        rotations: how many random rotations, each with random inputs.
        improper: also try every rotation combined with the inversion.
        dtype: ``float32`` or ``float64``, of the product; the rotations are done in float64.
        rng: a generator or a seed; by default a fixed seed, so that the number can be repeated.
        backend: what runs the product, as for its call.

    Raises:
        TypeError, ValueError: arguments that are malformed.

    Example:
        >>> import tpnumba as tp
        >>> tp.equivariance_error(tp.FullTensorProduct("1o", "1o + 2e")) < 1e-14
        True
    """
    if not isinstance(p, Operator):
        raise TypeError(f"p must be a tensor product of tpnumba, got {type(p).__name__}")
    if dtype not in ITEMSIZE:
        raise TypeError(f"dtype must be float32 or float64, got {dtype!r}")
    if check_degree("rotations", rotations) == 0:
        raise ValueError("rotations must be a positive integer, got 0")
    generator = np.random.default_rng(0 if rng is None else rng)
    matrices = random_rotations(rotations, generator)
    if improper:
        matrices = np.concatenate([matrices, -matrices])
    layouts = [operand.layout for operand in p.form.operands]
    irreps, arguments = p.operand_irreps, p.argument_operands

    def turn(x: Any, operand: int) -> Any:
        return rotate(irreps[operand], matrices, x.astype(np.float64), layout=layouts[operand])

    n = len(matrices)
    inputs = [generator.standard_normal((n, irreps[operand].dim)).astype(dtype) for operand in arguments]
    turned_inputs = [turn(x, operand).astype(dtype) for x, operand in zip(inputs, arguments, strict=True)]
    turned = p(*_arguments(turned_inputs), backend=backend)
    expected = turn(p(*_arguments(inputs), backend=backend), p.form.output)
    return relative_deviation(turned, expected)


def relative_deviation(found: Any, expected: Any) -> float:
    """The largest deviation of a NumPy array, relative to the largest number expected; absolute, if that is zero."""
    largest = float(np.max(np.abs(expected), initial=0.0))
    deviation = float(np.max(np.abs(found - expected), initial=0.0))
    return deviation / largest if largest > 0 else deviation


def _arguments(operands: list[Any]) -> list[Any]:
    """The arguments of a product: operands, with those of weights side by side."""
    return operands if len(operands) < 3 else [*operands[:2], np.concatenate(operands[2:], axis=-1)]


def random_rotations(n: int, generator: np.random.Generator) -> Any:
    """Uniform random rotation matrices, shape ``(n, 3, 3)``, from normalised random quaternions."""
    q = generator.standard_normal((n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    return np.stack(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    ).transpose(2, 0, 1)
