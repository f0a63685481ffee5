"""Training the network of one product, and counting the pieces that it gets right under all of many rotations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from tpnumba.irreps import Irreps
from tpnumba.measures.equivariance import random_rotations
from tpnumba.measures.expressivity import expressivity
from tpnumba.products.base import Operator
from tpnumba.products.bracket import GauntBracketTensorProduct
from tpnumba.products.clebsch_gordan import FullTensorProduct
from tpnumba.products.degrees import with_opposite_parity
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.matrix import MatrixTensorProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct
from tpnumba.studies.tetris.network import HARMONICS_LMAX, Network
from tpnumba.studies.tetris.pieces import PIECES, stack

Array = npt.NDArray[np.floating]

LEARNING_RATE = 1e-3
#: Adam's means of the gradient and of its square (Kingma and Ba, ICLR 2015), and what keeps it from dividing by zero.
_DECAYS, _EPS = (0.9, 0.999), 1e-8
#: A run ends when the loss falls below this: then every piece has its own logit above the others by far.
ENOUGH = 0.01
#: Of an evaluation, this many rotations are stacked at a time.
_AT_ONCE = 25


def _complete(lmax: int) -> Operator:
    harmonics, features = Irreps.spherical_harmonics(HARMONICS_LMAX), Irreps.spherical_harmonics(lmax)
    return FullTensorProduct(features, harmonics, with_opposite_parity(features))


def _vector_spherical(lmax: int) -> Operator:
    degrees, of_edges = range(lmax + 1), range(HARMONICS_LMAX + 1)
    return VectorSphericalTensorProduct.of_degrees(degrees, of_edges, degrees, kind="cross")


#: By the key that the command takes: the name in tables, and the product of features up to ``lmax`` with harmonics.
PRODUCTS: Mapping[str, tuple[str, Callable[[int], Operator]]] = {
    "clebsch-gordan": ("Clebsch-Gordan", _complete),
    "gaunt": ("Gaunt", lambda lmax: GauntTensorProduct(lmax, HARMONICS_LMAX, lmax)),
    "matrix": ("matrix", lambda lmax: MatrixTensorProduct(lmax, HARMONICS_LMAX, lmax, split=True)),
    "vector-cross": ("vector spherical (cross)", _vector_spherical),
    "gaunt-bracket": (
        "Gaunt + bracket",
        lambda lmax: GauntBracketTensorProduct(lmax, HARMONICS_LMAX, lmax),
    ),
}


@dataclass(frozen=True)
class Run:
    """One network trained.

    Attributes:
        product: its name.
        seed: of the weights and the rotations.
        correct: pieces whose own logit was the largest under all rotations (of equal ones the first).
        of: pieces.
        wrong: the others, by name.
        seconds_per_step: the median.
        steps: that were taken.
        weights: how many the network has.
        expressivity: of the product, features up to the hidden degree with harmonics up to 2, one copy of each degree.
        deviation: how far the logits of a piece lie apart under the rotations, relative to the largest.
        losses: of each step, the mean cross entropy of the pieces.
    """

    product: str
    seed: int
    correct: int
    of: int
    wrong: tuple[str, ...]
    seconds_per_step: float
    steps: int
    weights: int
    expressivity: int
    deviation: float
    losses: tuple[float, ...]


def run_all(
    products: Sequence[str],
    *,
    seeds: int,
    steps: int,
    lmax: int,
    rotations: int,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Run]:
    """Train and test a network for every seed and product, seed by seed.

    Args:
        products: keys of :data:`PRODUCTS`.
        seeds: 0 to ``seeds - 1``.
        steps: at most so many.
        lmax: the largest degree of the features.
        rotations: of the test.
        on_progress: called with a description, the steps done (all of a run when it ends), and their total.

    Yields:
        The runs, as they end.
    """
    networks = {}
    for key in products:
        name, build = PRODUCTS[key]
        product = build(lmax)
        networks[name] = Network(product, lmax), expressivity(product, single_copies=True)
    total = seeds * len(networks) * steps
    every = ((seed, name) for seed in range(seeds) for name in networks)
    for number, (seed, name) in enumerate(every):
        network, reached = networks[name]

        def report(done: int, *, first: int = number * steps, what: str = f"{name}, seed {seed}") -> None:
            if on_progress is not None:
                on_progress(what, first + done, total)

        rng = np.random.default_rng(seed)
        weights, losses, seconds = train(network, steps=steps, rng=rng, on_step=report)
        right, deviation = check(network, weights, rotations=rotations, rng=rng)
        report(steps)
        wrong = tuple(piece for piece, is_right in zip(PIECES, right, strict=True) if not is_right)
        yield Run(
            product=name,
            seed=seed,
            correct=sum(right),
            of=len(PIECES),
            wrong=wrong,
            seconds_per_step=median(seconds),
            steps=len(losses),
            weights=network.weight_numel,
            expressivity=reached,
            deviation=deviation,
            losses=tuple(losses),
        )


def train(
    network: Network, *, steps: int, rng: np.random.Generator, on_step: Callable[[int], None] = lambda done: None
) -> tuple[Array, list[float], list[float]]:
    """Minimise the loss by Adam, all pieces in one random rotation a step.

    Returns:
        The weights; and of each step the loss before it and the seconds it took.
    """
    weights = network.initial_weights(rng)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    losses: list[float] = []
    seconds: list[float] = []
    for step in range(1, steps + 1):
        on_step(step - 1)
        start = time.perf_counter()
        loss, gradient, _ = network.loss_and_gradient(stack(random_rotations(1, rng), weights.dtype.name), weights)
        first += (1 - _DECAYS[0]) * (gradient - first)
        second += (1 - _DECAYS[1]) * (gradient * gradient - second)
        unbiased = first / (1 - _DECAYS[0] ** step)
        weights = weights - LEARNING_RATE * unbiased / (np.sqrt(second / (1 - _DECAYS[1] ** step)) + _EPS)
        losses.append(loss)
        seconds.append(time.perf_counter() - start)
        if loss < ENOUGH:
            break
    return weights, losses, seconds


def check(network: Network, weights: Array, *, rotations: int, rng: np.random.Generator) -> tuple[list[bool], float]:
    """Whether each piece is right under all rotations, and how far its logits lie apart, relative to the largest."""
    parts = []
    for start in range(0, rotations, _AT_ONCE):
        turned = stack(random_rotations(min(_AT_ONCE, rotations - start), rng), weights.dtype.name)
        parts.append(network.logits(turned, weights).reshape(-1, len(PIECES), len(PIECES)))
    logits: Any = np.concatenate(parts)
    right = np.all(np.argmax(logits, axis=-1) == np.arange(len(PIECES)), axis=0)
    return right.tolist(), float(np.max(np.ptp(logits, axis=0)) / np.max(np.abs(logits)))
