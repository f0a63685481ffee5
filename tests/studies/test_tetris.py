"""The Tetris experiment: pieces, the network and its gradient, what symmetry lets it tell apart, and its training."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from strategies import tolerance

from tpnumba.measures.equivariance import random_rotations
from tpnumba.studies.tetris import training
from tpnumba.studies.tetris.layer import _unit_scales, hidden_irreps
from tpnumba.studies.tetris.network import Network
from tpnumba.studies.tetris.pieces import CUBES, PIECES, RADIUS, stack
from tpnumba.studies.tetris.report import BLIND
from tpnumba.studies.tetris.training import PRODUCTS

COMPLETE = sorted(set(PRODUCTS) - {"gaunt"})
every_product = pytest.mark.parametrize("key", sorted(PRODUCTS))
SCREWS = [0, 1]


@cache
def network(key: str, lmax: int = 1) -> Network:
    return Network(PRODUCTS[key][1](lmax), lmax)


def random_weights(key: str, lmax: int = 1, seed: int = 0) -> np.ndarray:
    return network(key, lmax).initial_weights(np.random.default_rng(seed), "float64")


def test_pieces_are_connected_and_two_are_mirror_images() -> None:
    assert len(PIECES) == 8
    graph = stack(np.eye(3)[None])
    np.testing.assert_allclose(np.linalg.norm(graph.vectors, axis=1), 1.0)
    for number, cubes in enumerate(PIECES.values()):
        inside = graph.edges.receivers // CUBES == number
        assert np.all(graph.edges.senders[inside] // CUBES == number)
        linked = np.eye(CUBES, dtype=int)
        linked[graph.edges.receivers[inside] % CUBES, graph.edges.senders[inside] % CUBES] = 1
        assert np.all(np.linalg.matrix_power(linked, CUBES) > 0)
        pairs = np.sum(np.linalg.norm(np.array(cubes)[:, None] - np.array(cubes), axis=-1) < RADIUS) - CUBES
        assert pairs == np.sum(inside)
    right, left = (np.array(PIECES[name]) for name in ("right screw", "left screw"))
    np.testing.assert_array_equal(right * [1, 1, -1], left)
    # No rotation leads from one to the other: it would keep the sign of this determinant.
    assert np.linalg.det(np.diff(right, axis=0)) == pytest.approx(-np.linalg.det(np.diff(left, axis=0))) != 0


def test_no_two_pieces_have_equal_distances_but_the_screws() -> None:
    def distances(cubes) -> tuple[float, ...]:
        return tuple(np.sort(np.linalg.norm(np.array(cubes)[:, None] - np.array(cubes), axis=-1), axis=None))

    found = [distances(cubes) for cubes in PIECES.values()]
    assert found[0] == found[1]
    assert len(set(found)) == 7


def test_a_stack_turns_every_piece() -> None:
    rotations = random_rotations(3, np.random.default_rng(0))
    one, three = stack(np.eye(3)[None]), stack(rotations)
    assert (one.pieces, three.pieces) == (8, 24)
    expected = np.einsum("nij,ej->nei", rotations, one.vectors).reshape(-1, 3)
    np.testing.assert_allclose(three.vectors, expected, atol=1e-14)
    assert three.edges.num_nodes == 3 * one.edges.num_nodes
    np.testing.assert_array_equal(three.neighbours[:, 0], np.bincount(three.edges.receivers))


@every_product
def test_the_gradient_is_that_of_finite_differences(key: str) -> None:
    """Along a random direction of the weights of each of its parts."""
    net, graph = network(key), stack(random_rotations(1, np.random.default_rng(1)))
    weights = random_weights(key)
    _, gradient, _ = net.loss_and_gradient(graph, weights)
    rng = np.random.default_rng(2)
    step = np.cbrt(np.finfo(float).eps)
    for place in net._places:
        direction = np.zeros(net.weight_numel)
        direction[place] = rng.standard_normal(place.stop - place.start)
        direction /= np.linalg.norm(direction)
        high, low = (net.loss_and_gradient(graph, weights + s * step * direction)[0] for s in (1, -1))
        assert (high - low) / (2 * step) == pytest.approx(gradient @ direction, abs=1e-8, rel=1e-6)


@every_product
@pytest.mark.parametrize("lmax", [1, 2])
def test_rotations_leave_logits_and_reflections_exchange_the_screws(key: str, lmax: int) -> None:
    net, weights = network(key, lmax), random_weights(key, lmax)
    rotations = random_rotations(4, np.random.default_rng(3))
    upright, turned, mirrored = (
        net.logits(stack(matrices), weights).reshape(-1, 8, 8) for matrices in (np.eye(3)[None], rotations, -rotations)
    )
    limit = 10 * tolerance("float64", lmax, net.weight_numel) * np.abs(upright).max()
    np.testing.assert_allclose(turned, np.broadcast_to(upright, turned.shape), rtol=0, atol=limit)
    exchanged = upright[:, [1, 0, 2, 3, 4, 5, 6, 7]]
    np.testing.assert_allclose(mirrored, np.broadcast_to(exchanged, turned.shape), rtol=0, atol=limit)
    swapped = upright[..., [1, 0, 2, 3, 4, 5, 6, 7]]
    np.testing.assert_allclose(mirrored, np.broadcast_to(swapped, turned.shape), rtol=0, atol=limit)


@pytest.mark.parametrize("key", COMPLETE)
def test_complete_products_give_the_screws_opposite_pseudoscalars_and_the_others_none(key: str) -> None:
    logits = network(key).logits(stack(np.eye(3)[None]), random_weights(key))
    right, left = logits[0, 0], logits[1, 0]
    limit = 10 * tolerance("float64", 1, network(key).weight_numel) * np.abs(logits).max()
    assert abs(right) > 100 * limit
    assert left == pytest.approx(-right, abs=limit)
    np.testing.assert_allclose(logits[2:, 0], 0, atol=limit)


@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
def test_gaunt_gives_no_pseudoscalar_and_the_screws_the_same_logits(lmax: int) -> None:
    """So that at most one of the two can be right, and the loss stays above what guessing between them costs."""
    net, graph = network("gaunt", lmax), stack(np.eye(3)[None])
    for seed in range(3):
        loss, _, logits = net.loss_and_gradient(graph, random_weights("gaunt", lmax, seed))
        assert np.all(logits[:, SCREWS] == 0)
        np.testing.assert_allclose(logits[0], logits[1], rtol=0, atol=1e-12 * np.abs(logits).max())
        assert loss > BLIND


@every_product
def test_scales_give_unit_variance(key: str) -> None:
    """Of the sum of independent products of unit variance, by the coefficients themselves."""
    product = PRODUCTS[key][1](2)
    _, coords, values = product.coefficients()
    variances = np.bincount(coords[2], weights=values**2, minlength=product.irreps_out.dim)
    np.testing.assert_allclose(variances * _unit_scales(product) ** 2, np.where(variances > 0, 1, 0), rtol=1e-12)


@every_product
@pytest.mark.parametrize("lmax", [1, 2, 3, 4])
def test_products_couple_features_with_harmonics(key: str, lmax: int) -> None:
    product = PRODUCTS[key][1](lmax)
    hidden = {block.ir for block in hidden_irreps(lmax)}
    for irreps, top in ((product.irreps_in1, lmax), (product.irreps_in2, 2), (product.irreps_out, lmax)):
        assert {block.ir.l for block in irreps} == set(range(top + 1))
    assert {block.ir for block in product.irreps_out} <= hidden
    assert getattr(product, "lost", ()) == ()


@every_product
def test_training_with_a_fixed_seed(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With large steps some dozens are enough."""
    monkeypatch.setattr(training, "LEARNING_RATE", 0.01)
    net = network(key)
    weights, losses, seconds = training.train(net, steps=80, rng=np.random.default_rng(0))
    right, deviation = training.check(net, weights, rotations=30, rng=np.random.default_rng(1))
    assert len(losses) == len(seconds)
    assert deviation < 10 * tolerance("float32", 2, net.weight_numel)
    if key == "gaunt":
        assert right == [True, False, True, True, True, True, True, True]
        assert len(losses) == 80
        assert BLIND < losses[-1] < 1.5 * BLIND
    else:
        assert all(right)
        assert losses[-1] < training.ENOUGH <= min(losses[:-1])


def test_training_can_be_repeated() -> None:
    net = network("gaunt-bracket")
    one, other = (training.train(net, steps=4, rng=np.random.default_rng(7))[0] for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_piece_must_be_right_under_every_rotation() -> None:
    """A broken network, whose logits depend on the rotation: one piece is right in all but one of them."""

    class Broken:
        def logits(self, graph, _):
            logits = np.tile(np.eye(8), (graph.pieces // 8, 1))
            logits[8 * 5 + 3] = 0.0  # the fourth piece in the sixth rotation: the first logit of equals counts
            return logits

    right, deviation = training.check(Broken(), np.zeros(1), rotations=60, rng=np.random.default_rng(0))
    assert right == [True, True, True, False, True, True, True, True]
    assert deviation == 1.0
