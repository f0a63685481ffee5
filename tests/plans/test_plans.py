"""Plans are data: frozen, compared by key, adjoint by moving the output."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import SPHERE, products, sphere_products, tolerance

import tpnumba as tp
from tpnumba.backends.namespaces import Context
from tpnumba.plans.base import Operand, Segment
from tpnumba.plans.contraction import Contraction, Coupling, Path, channel_extents
from tpnumba.plans.ordering import BATCH, cheapest_order
from tpnumba.plans.stages import DegreeScaling, FourierStage, LegendreStage
from tpnumba.plans.transform import Transform


@given(products())
def test_plans_are_hashable_picklable_and_frozen(p):
    for plan in {p.form, p.plan}:
        copy = pickle.loads(pickle.dumps(plan))
        assert copy == plan
        assert hash(copy) == hash(plan)
        assert "_hash" not in copy.__getstate__()  # hashes of strings differ between processes
        assert plan.adjoint(plan.output) == plan
        for i in plan.inputs:
            other = plan.adjoint(i)
            assert other != plan
            assert other.output == i
            assert other.adjoint(plan.output) == plan
            assert set(other.inputs) == set(range(len(plan.operands))) - {i}
        with pytest.raises(FrozenInstanceError):
            plan.output = 0


@given(products())
def test_shared_operands_cost_once(p):
    plan = p.form
    first = plan.inputs[0]
    access = tuple("shared" if i == first else "batch" for i in range(len(plan.operands)))
    shared = plan.with_access(access)
    saved = plan.operands[first].size
    assert plan.cost(10).bytes - shared.cost(10).bytes == 4 * 9 * saved
    assert shared.cost(100).flops <= plan.cost(100).flops
    assert plan.with_access(("batch",) * len(plan.operands)) == plan


def test_a_shared_operand_changes_the_order_of_work():
    """One second input for all samples: its product with the coupling is made once, as one small matrix."""
    p = tp.FullTensorProduct("8x1o", "1o", "2e")
    plan = p.form.with_access(("batch", "shared", "batch"))
    assert plan.flops[1] > 0
    assert p.form.flops[1] == 0


@given(products(), st.integers(0, 2))
def test_steps_of_a_transform_read_what_is_held(p, output):
    """Each of the fields is made once, before it is read, and given up once, after it was."""
    for _, of_method in p.methods.plans:
        if isinstance(of_method, Transform):
            plan = of_method.adjoint(output)
            held, made = set(), []
            for step, maps in zip(plan.steps, plan.maps[output], strict=True):
                assert maps
                assert not held.intersection(step.first_read)
                held |= set(step.first_read)
                made += step.first_read
                read = {(i, meeting[i]) for meeting, _ in step.terms for i in plan.inputs}
                assert read <= held
                assert set(step.last_read) <= read
                held -= set(step.last_read)
            assert not held
            assert len(made) == len(set(made))
            assert set(made) == {(i, meeting[i]) for meeting, _ in plan.terms for i in plan.inputs}
            terms = [term for step in plan.steps for term in step.terms]
            assert sorted(terms) == sorted(plan.terms)


def test_repr_tells_operands_paths_and_grid():
    p = tp.FullTensorProduct("1o", "1o")
    assert repr(p.form) == "Contraction(in1: 3 batch, in2: 3 batch -> out: 9 batch | 3 paths, 20 non-zeros)"
    q = tp.GauntTensorProduct(2, 2, method="grid")
    assert repr(q.plan.adjoint(0)) == (
        "Transform(in2: 9 batch, out: 25 batch -> in1: 9 batch | 5 x 10 grid, 1+1+1 transforms)"
    )


def test_channels_that_contradict_the_segments_are_refused():
    operands = tuple(Operand(name, (Segment(0, mul, 1),)) for name, mul in (("a", 2), ("b", 3), ("c", 2)))
    coupling = Coupling("clebsch_gordan", (0, 0, 0))
    for channels, message in (("u,u,u", "equal multiplicities of u"), ("u,v,uv", "do not fit the multiplicity 2")):
        path = Path((0, 0, 0), channels, coupling, (0, 1, 2), 1.0)
        with pytest.raises(ValueError, match=message):
            channel_extents(path, operands)


def test_paths_of_scale_zero_and_of_no_copies_do_nothing():
    operands = tuple(Operand(name, (Segment(0, 1, 1),)) for name in "abc")
    coupling = Coupling("clebsch_gordan", (0, 0, 0))
    plan = Contraction(operands, 2, (Path((0, 0, 0), ",,", coupling, (0, 1, 2), 0.0),))
    assert plan.groups == ()
    assert plan.flops == (0, 0)
    assert not plan.fills_output


def test_order_is_the_cheapest_by_hand():
    """x_a y_b first costs 9, then 9 x 3 with the coupling; x with the dense coupling first would cost 27 and 9."""
    coords = {axis: grid.ravel() for axis, grid in zip("ABC", np.indices((3, 3, 3)), strict=True)}
    extents = {"A": 3, "B": 3, "C": 3}
    order = cheapest_order([(BATCH, "A"), (BATCH, "B"), ("A", "B", "C")], (BATCH, "C"), extents, coords)
    assert (order.steps[0].left, order.steps[0].right) == (0, 1)
    assert order.flops == (9 + 2 * 27, 0)
    # With one row of x for all samples, x times the coupling is made once.
    order = cheapest_order([("A",), (BATCH, "B"), ("A", "B", "C")], (BATCH, "C"), extents, coords)
    assert order.flops == (2 * 9, 2 * 27)


@given(sphere_products(), st.integers(0, 2))
def test_transposes_of_linear_maps_are_transposes(p, i):
    from tpnumba.backends.generic.stages import apply, transpose

    for method in SPHERE[type(p)][1:]:
        plan = type(p)(**{**dict(p.__reduce__()[1][1]), "method": method}).plan
        if plan == p.form:
            continue
        context = Context(np, None, np.float64)
        rng = np.random.default_rng(0)
        x = rng.standard_normal((3, plan.operands[i].size))
        for linear_map in plan.maps[i]:
            carried = apply(linear_map, context, x)
            field = rng.standard_normal(carried.shape)
            left, right = np.sum(carried * field), np.sum(x * transpose(linear_map, context, field))
            size = np.linalg.norm(carried) * np.linalg.norm(field)
            assert abs(left - right) <= size * tolerance("float64", 5, carried[0].size)


def test_flops_of_stages_are_those_of_their_matrices():
    legendre = LegendreStage((0, 1, 2, 3), 3, 5)
    assert legendre.flops == sum(2 * columns.size * matrix.shape[1] for columns, matrix in legendre.orders)
    fourier = FourierStage(3, 8, 5)
    assert fourier.flops == 2 * fourier.matrix.size * 5
    assert DegreeScaling((0, 2), "norm").factors.size == 6
