"""Small random networks with every option that a description has, for tests that download nothing."""

from __future__ import annotations

import numpy as np
from ase import Atoms

from tpnumba.irreps import Irreps
from tpnumba.models import Interaction, Network, Radial, Repulsion
from tpnumba.models.weights import weight_sizes

CUTOFF = 3.2


def messages(features: str, harmonics: Irreps, lmax: int) -> tuple[tuple[tuple[int, int, int], ...], str]:
    """All products up to a degree, each to a block of its own."""
    found = [
        (i, j, mul, ir)
        for i, (mul, ir_in) in enumerate(Irreps(features))
        for j, (_, ir_edge) in enumerate(harmonics)
        for ir in ir_in * ir_edge
        if ir.l <= lmax
    ]
    irreps, place, _ = Irreps([(mul, ir) for _, _, mul, ir in found]).sort()
    return tuple((i, j, place[k]) for k, (i, j, _, _) in enumerate(found)), str(irreps)


def interaction(features: str, harmonics: Irreps, *, lmax: int, denominator: float, **options) -> Interaction:
    instructions, irreps = messages(features, harmonics, lmax)
    return Interaction(
        irreps_in=features,
        irreps_messages=irreps,
        instructions=instructions,
        hidden=(5, 6),
        radial_activation="silu",
        denominator=denominator,
        **options,
    )


def even_network(**changes) -> Network:
    """As SevenNet's: harmonics taken for even ones, self-connections without elements, XPLOR."""
    harmonics = Irreps.spherical_harmonics(2, 1)
    first = interaction(
        "4x0e",
        harmonics,
        lmax=2,
        denominator=2.5,
        self_connection="linear",
        scalars="4x0e",
        scalar_activations=("silu",),
        gates="3x0e + 2x0e",
        gate_activations=("silu", "silu"),
        gated="3x1e + 2x2e",
    )
    last = interaction(
        "4x0e + 3x1e + 2x2e",
        harmonics,
        lmax=0,
        denominator=3.5,
        self_connection="linear",
        scalars="4x0e",
        scalar_activations=("silu",),
        gates="",
        gate_activations=(),
        gated="",
    )
    fields = {
        "name": "even",
        "elements": (8, 1, 6),
        "cutoff": CUTOFF,
        "radial": Radial(4, 2 / CUTOFF, "xplor", 2.5),
        "lmax": 2,
        "parity": 1,
        "unit_vectors": True,
        "irreps_embedding": "4x0e",
        "interactions": (first, last),
        "hidden": (2,),
    }
    return Network(**{**fields, **changes})


def odd_network(**changes) -> Network:
    """As NequIP's: parities, scalars and gates of both, factors and self-connections by element, degree 3."""
    harmonics = Irreps.spherical_harmonics(3, -1)
    first = interaction(
        "3x0e",
        harmonics,
        lmax=2,
        denominator=0.7,
        self_connection="none",
        scalars="3x0e",
        scalar_activations=("silu",),
        gates="2x0e",
        gate_activations=("silu",),
        gated="2x1o",
        sender_factors=(0.8, 1.3, 0.6),
    )
    second = interaction(
        "3x0e + 2x1o",
        harmonics,
        lmax=2,
        denominator=0.6,
        self_connection="elements",
        sender_factors=(1.1, 0.7, 1.6),
        scalars="3x0e",
        scalar_activations=("silu",),
        gates="4x0e + 1x0e",
        gate_activations=("tanh", "sigmoid"),
        gated="2x1o + 2x1e + 1x2e",
    )
    third = interaction(
        "3x0e + 2x1o + 2x1e + 1x2e",
        harmonics,
        lmax=1,
        denominator=0.5,
        self_connection="elements",
        scalars="2x0e + 2x0o",
        scalar_activations=("ssp", "tanh"),
        gates="1x0o",
        gate_activations=("tanh",),
        gated="1x1e",
    )
    fourth = interaction(
        "2x0e + 2x0o + 1x1o",
        harmonics,
        lmax=1,
        denominator=0.4,
        self_connection="linear",
        scalars="3x0e + 2x0o",
        scalar_activations=("silu", "abs"),
        gates="",
        gate_activations=(),
        gated="",
    )
    fields = {
        "name": "odd",
        "elements": (8, 1, 6),
        "cutoff": CUTOFF,
        "radial": Radial(5, 3.0, "polynomial", 6),
        "lmax": 3,
        "parity": -1,
        "unit_vectors": True,
        "irreps_embedding": "3x0e",
        "interactions": (first, second, third, fourth),
        "hidden": (4,),
    }
    return Network(**{**fields, **changes})


#: One of each, and the options that neither has.
NETWORKS = {
    "even": even_network(),
    "odd": odd_network(),
    "cosine": even_network(name="cosine", radial=Radial(3, 8.0, "cosine", 0.0), hidden=()),
    "lengths": odd_network(
        name="lengths",
        unit_vectors=False,
        radial=Radial(5, 1.0, "polynomial", 5),
        hidden=(4, 3),
        readout_activation="tanh",
        repulsion=Repulsion(0.3, 5),
    ),
}


def random_weights(network: Network, *, biases: bool, dtype: str = "float64", seed: int = 0) -> dict[str, np.ndarray]:
    """Normal numbers, but for frequencies, which stay near those of Bessel functions."""
    rng = np.random.default_rng(seed)
    sizes = weight_sizes(network, biases=biases)
    weights = {name: rng.standard_normal(size) for name, size in sizes.items()}
    count = network.radial.number
    weights["radial.frequencies"] = np.arange(1, count + 1) * np.pi / network.cutoff * rng.uniform(0.95, 1.05, count)
    return {name: array.astype(dtype) for name, array in weights.items()}


def crystal(*, seed: int = 3) -> Atoms:
    """Seven atoms in a triclinic cell that is smaller than the cutoff along one of its vectors."""
    rng = np.random.default_rng(seed)
    cell = np.array([[2.9, 0.0, 0.0], [0.7, 4.4, 0.0], [-0.6, 0.9, 4.8]])
    grid = np.array(
        [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.1, 0.1, 0.3], [0.6, 0.6, 0.6], [0, 0.3, 0.8]]
    )
    atoms = Atoms("OHCHOCH", scaled_positions=grid, cell=cell, pbc=True)
    atoms.positions += rng.normal(scale=0.05, size=(7, 3))
    return atoms
