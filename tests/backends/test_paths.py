"""Plans that no product of the package makes, but that are plans all the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from strategies import evaluate_plan, products

import tpnumba as tp
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.gpu import lower as gpu
from tpnumba.backends.lowering.paths import are_paths_supported, components_of, segment_of, steps_of


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


@given(products())
def test_channels_and_components_fill_a_segment(p):
    for operand in p.form.operands:
        for segment in operand.segments:
            channel_step, component_step = steps_of(operand, segment)
            places = np.arange(segment.mul)[:, None] * channel_step + np.arange(segment.dim) * component_step
            np.testing.assert_array_equal(np.sort(places.ravel()), np.arange(segment.mul * segment.dim))
            assert component_step == 1 or operand.layout == "ir_mul"


@given(products())
def test_every_product_has_paths_that_kernels_evaluate(p):
    assume(not isinstance(p, tp.LowRankTensorProduct))  # its weights are summed up first
    assert are_paths_supported(p.form)
    for path in p.form.paths:
        assert [p.form.operands[i].segments[segment_of(path, i)].dim for i in components_of(path)] == [
            path.coupling.shape[path.legs[i]] for i in components_of(path)
        ]


def test_paths_of_two_operands_with_components_have_no_program():
    p = tp.FullyConnectedTensorProduct("1o", "1o", "0e")
    (path,) = p.form.paths
    plan = replace(p.form, paths=(replace(path, legs=tuple(None if leg == 0 else leg for leg in path.legs)),))
    assert not are_paths_supported(plan)
    assert program_of(plan, "float32") is None
    assert gpu.program_of(plan, "float32") is None
