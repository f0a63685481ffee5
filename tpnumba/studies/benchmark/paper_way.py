"""What a way of computing a product is, and how it is called on batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.products.base import Operator

Array = npt.NDArray[Any]
Product = Callable[[Array, Array], Array]

#: Samples at a time: intermediate arrays then take some megabytes.
_CHUNK = 256


@dataclass(frozen=True)
class Way:
    """A product as the paper computes it.

    Attributes:
        call: of two arrays of shape ``(n, size)``, in the dtype that the tables were made for.
        flops: operations a sample.
        sizes: the numbers a sample of both inputs and of the result.
        irreps_out: the number of irreps of the result.
        reference: the same of float64 arrays; by sparse coefficients, where it is a product of this package.
        product: the same product of this package; None if there is none, as it is complete.
        inexact: whether it has errors beyond rounding.
    """

    call: Product
    flops: int
    sizes: tuple[int, int, int]
    irreps_out: int
    reference: Product
    product: Operator | None = None
    inexact: bool = False

    @classmethod
    def of(cls, product: Operator, call: Product, flops: int, *, inexact: bool = False) -> Way:
        """A way to the result of a product of this package."""
        sizes = product.irreps_in1.dim, product.irreps_in2.dim, product.irreps_out.dim
        irreps_out = product.irreps_out.num_irreps
        return cls(call, flops, sizes, irreps_out, partial(product, backend="generic"), product, inexact)


def in_chunks(call: Product) -> Product:
    """Call it for some samples at a time."""

    def run(x1: Array, x2: Array) -> Array:
        starts = range(0, len(x1), _CHUNK)
        return np.concatenate([call(x1[i : i + _CHUNK], x2[i : i + _CHUNK]) for i in starts])

    return run
