"""Plans that no product of the package makes, but that are plans all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from strategies import evaluate_plan

import tpnumba as tp


@pytest.mark.parametrize("p", [tp.FullyConnectedTensorProduct("2x1o", "1o", "3x0e"), tp.FullTensorProduct("1o", "1o")])
def test_a_path_that_is_there_twice_counts_twice(p):
    plan = replace(p.plan, paths=p.plan.paths * 2)
    rng = np.random.default_rng(0)
    for output in range(len(plan.operands)):
        once, twice = (one.adjoint(output) for one in (p.plan, plan))
        arrays = {i: rng.standard_normal((4, once.sizes[i])) for i in once.inputs}
        for backend in ("generic", "cpu"):
            found, expected = (evaluate_plan(one, arrays, backend) for one in (twice, once))
            np.testing.assert_allclose(found, 2 * expected, rtol=1e-13)
