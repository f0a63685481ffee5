"""Which backend evaluates a product."""

from __future__ import annotations

import numpy as np

from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import common_context
from tpnumba.backends.registry import choose
from tpnumba.products.base import Operator


def evaluated_by(p: Operator, dtype: str, backend: str) -> str:
    """The name of the backend that a call with NumPy arrays goes to: one with a kernel for the plan, if it may choose.

    Args:
        p: a product.
        dtype: of the arrays.
        backend: as a call takes it; ``gpu``, which takes no NumPy arrays, is itself.

    Raises:
        RuntimeError: the backend has no kernel for the plan.

    Example:
        >>> import tpnumba as tp
        >>> evaluated_by(tp.FullTensorProduct("1o", "1o"), "float32", "generic")
        'generic'
    """
    if backend == "gpu":
        return backend
    context = common_context({"x1": np.ones((1, 1), dtype)})
    return choose(Call(p.methods, (0, 1), (1,), (1,), context, backend))[0]


def make_ready(p: Operator, dtype: str, backend: str) -> None:
    """Make the code of the product's own, if it has, so that no time is that of the kernel before or of compiling it.

    Args:
        p, dtype, backend: as of :func:`evaluated_by`.

    Raises:
        RuntimeError: the backend has no kernel for the plan.
    """
    if evaluated_by(p, dtype, backend) == "cpu":
        p.specialize(dtype)
