"""The reference backend works large batches in portions, with little memory, and the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import leading_pairs, memory_beyond_results, products, random_arguments, tolerance

import tpnumba as tp
from tpnumba.backends import registry
from tpnumba.backends.generic import evaluation
from tpnumba.backends.portions import portions

LIMIT = 64 * 2**20


def large_calls():
    spherical = tp.Irreps.spherical_harmonics(4)
    connected = tp.FullyConnectedTensorProduct("32x0e + 32x1o", "0e + 1o + 2e", "32x0e + 32x1o")
    yield "full", tp.FullTensorProduct(spherical, spherical), 8000
    yield "gaunt-direct", tp.GauntTensorProduct(6, 6, method="direct"), 20000
    yield "gaunt-grid", tp.GauntTensorProduct(6, 6, method="grid"), 20000
    yield "channelwise", tp.ChannelwiseTensorProduct("64x0e + 64x1o + 64x2e", spherical), 300
    yield "connected", connected, 400


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    scale = 1 + float(np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=scale * tolerance("float64", 4, 1000))


@pytest.mark.parametrize(("p", "batch"), [pytest.param(p, n, id=name) for name, p, n in large_calls()])
def test_temporaries_stay_below_64_mb(p, batch):
    arguments = [x.astype(np.float32) for x in random_arguments(p, (batch,), (batch,))]
    cotangent = np.ones((batch, p.irreps_out.dim), dtype=np.float32)
    named = {"weights": arguments[2]} if len(arguments) == 3 else {}
    p(*(x[:2] for x in arguments))  # tables are made once and stay
    p.vjp(*(x[:2] for x in arguments[:2]), cotangent[:2], **{k: x[:2] for k, x in named.items()})
    for run in (lambda: p(*arguments), lambda: p.vjp(*arguments[:2], cotangent, **named)):
        assert memory_beyond_results(run) < LIMIT


def values_and_gradients(xp, p, leading, seed):
    arguments = [xp.asarray(x) for x in random_arguments(p, *leading, seed=seed)]
    value = p(*arguments)
    cotangent = xp.asarray(np.random.default_rng(seed).standard_normal(tuple(value.shape)))
    named = {"weights": arguments[2]} if len(arguments) == 3 else {}
    return [xp.to_numpy(array) for array in (value, *p.vjp(*arguments[:2], cotangent, **named))]


@given(p=products(), leading=leading_pairs, most=st.integers(1, 3), seed=st.integers(0, 1000))
def test_portions_of_any_size_give_the_same(xp, p, leading, most, seed):
    expected = values_and_gradients(xp, p, leading, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "portion_samples", lambda plan, context: most)
        found = values_and_gradients(xp, p, leading, seed)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@given(p=products(), leading=leading_pairs, seed=st.integers(0, 1000))
def test_namespaces_that_cannot_be_written_into_get_the_same(xp, p, leading, seed):
    """The way that jax and dask go, walked with arrays that can check it."""
    expected = values_and_gradients(xp, p, leading, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "is_eager", lambda *_: False)
        found = values_and_gradients(xp, p, leading, seed)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@given(st.lists(st.integers(0, 5), max_size=4).map(tuple), st.integers(1, 40))
def test_portions_tile_the_samples(full, most):
    seen = np.zeros(full, dtype=int)
    for portion in portions(full, most):
        seen[portion] += 1
        assert seen[portion].size <= most
    assert np.all(seen == 1)
