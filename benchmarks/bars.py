"""The bars: how many times as fast as its peers a work must be, and should be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """How many times as fast as the fastest peer a work must be, and should be.

    Attributes:
        must_numpy: against the hand-written NumPy, if that is another number.
        against: the peers that are asked, and judged. None: all that do the work.
    """

    title: str
    must: float
    aim: float
    must_numpy: float | None = None
    against: tuple[str, ...] | None = None


FULL = Bar("FullTensorProduct MIMO, natural-parity filter and all paths", 5, 10, must_numpy=4)
SINGLE = Bar("SIMO and SISO", 3, 8)
GRADIENT = Bar("vjp of these against the peer's backward", 4, 8)
CHANNELWISE = Bar("channelwise uvu, per-edge weights: forward", 3, 4)
CHANNELWISE_GRADIENT = Bar("channelwise uvu, per-edge weights: forward and all gradients", 4, 8)
CONVOLUTION = Bar("convolution, per-edge weights: forward and all gradients", 4, 8)
CONVOLUTION_MEMORY = Bar("the same, peak memory beyond operands, results and edges", 5, 20)
CONNECTED = Bar("fully connected uvw", 2, 4)
DOUBLE = Bar("float64: MIMO, natural-parity filter and all paths", 4, 8)

_GAUNT_PEERS = ("numpy", "opt-einsum", "e3nn-jax-grid")
GAUNT_FIRST = Bar("GauntTensorProduct MIMO, L = 1", 1.5, 5, against=_GAUNT_PEERS)
GAUNT = Bar("GauntTensorProduct MIMO, L = 2..10", 2.5, 5, against=_GAUNT_PEERS)
PAPER = Bar("GauntTensorProduct MIMO, against the paper's way of computing it, by jax", 8, 20, against=("jax-dense",))
SAME_PLAN = Bar(
    "bracket, matrix, vector spherical MIMO, against NumPy with the same plan", 3, 8, against=("numpy-plan",)
)
SPHERE_GRADIENT = Bar(
    "vjp of products on the sphere, against jax's backward",
    3,
    6,
    against=("jax-plan", "jax-dense", "e3nn-jax-grid"),
)
HARMONICS = Bar("SphericalHarmonics, 100,000 points", 1, 1.3)
ROTATIONS = Bar("Wigner D to l = 8, 1,000 rotations", 5, 20)

BARS = (
    FULL,
    SINGLE,
    GRADIENT,
    CHANNELWISE,
    CHANNELWISE_GRADIENT,
    CONNECTED,
    DOUBLE,
    GAUNT_FIRST,
    GAUNT,
    PAPER,
    SAME_PLAN,
    SPHERE_GRADIENT,
    HARMONICS,
    ROTATIONS,
)

#: The share of the roofline that MIMO of these degrees must reach, and should, with the output given.
ROOFLINE_DEGREES, ROOFLINE_MUST, ROOFLINE_AIM = range(4, 9), 0.15, 0.5

#: The exponent with which the Gaunt product on the grid grows, at these L against the first of them: at most.
GROWTH_DEGREES, GROWTH_MUST, GROWTH_AIM = (16, 32, 64), 3.3, 3.0

#: Microseconds that a whole call of one sample may take, and should.
CALL_MUST, CALL_AIM = 4.0, 2.5

#: ``auto`` is to be at most so much slower than the fastest method, in this share of the cases.
AUTO_SLACK, AUTO_MUST = 1.2, 0.9
