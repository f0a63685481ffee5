"""torch and e3nn as references: their tensors, gradients, and how far ours may be from them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import strategies as st
from strategies import tolerance

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what e3nn uses of torch is on its way out; its numbers are not
    torch = pytest.importorskip("torch", reason="needs torch==2.13.0 and e3nn 0.6 (session peers)")
    o3 = pytest.importorskip("e3nn.o3", reason="needs e3nn 0.6 (session peers)")
    import e3nn
    import e3nn.math
    import e3nn.nn

e3nn.set_optimization_defaults(jit_script_fx=False)  # compiling each drawn product would take seconds

#: In double precision, without the warnings of what e3nn uses of torch.
MARKS = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("double_precision_of_torch")]
SEEDS = st.integers(0, 2**32 - 1)


def leaf(array):
    """A tensor to differentiate by."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def gradients(result, leaves, cotangent):
    """Of ``<cotangent, result>``; zero for what the result does not depend on."""
    return torch.autograd.grad(
        result, leaves, torch.tensor(cotangent), allow_unused=True, materialize_grads=True, create_graph=True
    )


def assert_agree(found, wanted, terms=100):
    """Hold that an array of ours is a tensor of theirs, to the rounding of float64 in sums of so many terms."""
    wanted = wanted.detach().numpy()
    scale = 1 + float(np.max(np.abs(wanted), initial=0.0))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=scale * tolerance("float64", 4, terms))
