"""Calls that adapters keep for the next call on arrays of the same shapes."""

from __future__ import annotations

import numpy as np

import tpnumba as tp
from tpnumba.backends.adapters import kept
from tpnumba.backends.adapters.kept import on_numpy
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import numpy_context
from tpnumba.plans.harmonics import Harmonics

P = tp.FullTensorProduct("0e + 1o", "1o")
CONTEXT = numpy_context("float64")


def call_of(samples, *, threads=None, methods=P.methods):
    return Call(methods, (0, 1), samples, samples, CONTEXT, "auto", threads, ("x1", "x2"))


def arrays(*leading):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((*shape, size)) for shape, size in zip(leading, (4, 3), strict=True)]


def shapes_of(given):
    return tuple(array.shape for array in given)


def test_results_and_gradients_are_those_of_the_product_for_every_pair_of_shapes():
    for leading in (((5,), (5,)), ((5,), ()), ((5,), (1,)), ((2, 5), (5,))):
        x, y = given = arrays(*leading)
        samples = np.broadcast_shapes(*leading)
        found = on_numpy(call_of(samples), shapes_of(given), None)
        result = P(x, y)
        np.testing.assert_array_equal(found.evaluate(given)[0], result)
        for number, expected in enumerate(P.vjp(x, y, result)):
            adjoint, places = found.gradient(number)
            (gradient,) = adjoint.evaluate([(*given, result)[place] for place in places])
            np.testing.assert_array_equal(gradient, expected)


def test_what_is_kept_is_found_again_but_not_for_other_threads_or_shapes():
    shapes = shapes_of(arrays((6,), (6,)))
    found = on_numpy(call_of((6,)), shapes, 2)
    assert on_numpy(call_of((6,)), shapes, 2) is found
    assert found.gradient(0) is found.gradient(0)
    assert (found.call.backend, found.call.num_threads) == ("cpu", 2)
    assert on_numpy(call_of((6,)), shapes, 1).call.num_threads == 1
    assert on_numpy(call_of((6,)), shapes_of(arrays((6,), ())), 2) is not found


def test_no_more_than_a_number_of_shapes_is_kept():
    methods = tp.FullTensorProduct("0e + 1e", "1o").methods
    for count in range(kept._MOST + 3):
        on_numpy(call_of((count,), methods=methods), shapes_of(arrays((count,), (count,))), None)
    assert len(methods.__dict__["_kept"]) == 3
    x, y = arrays((2,), (2,))
    assert len(on_numpy(call_of((2,), methods=methods), shapes_of((x, y)), None).evaluate((x, y))[0]) == 2


def test_gradients_of_harmonics_by_the_points_are_calls_for_values_alone():
    Y, points = tp.SphericalHarmonics(2), np.random.default_rng(1).standard_normal((5, 3))
    values = Y(points)
    found = on_numpy(call_of((5,), methods=Harmonics(2))._replace(operands=(0,)), ((5, 3),), None)
    np.testing.assert_array_equal(found.evaluate([points])[0], values)
    adjoint, places = found.gradient(0)
    np.testing.assert_array_equal(adjoint.evaluate([(points, values)[i] for i in places])[0], Y.vjp(points, values))
    pulled = on_numpy(call_of((5,), methods=Harmonics(2, kind="vjp")), ((5, 3), (5, 9)), None)
    assert pulled.gradient(0) is None
    assert pulled.gradient(1) is not None
