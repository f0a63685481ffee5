"""Potentials evaluated from their mathematics, edge by edge in float64, by none of the layers of the package.

Taken from it are the Clebsch-Gordan coefficients and the constants of the activations, which have tests of their own,
irreps as a way to write lists, and the list of edges. Forces are differences of energies.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from math import exp, log, pi, sqrt

import numpy as np
from scipy.special import expit

from tpnumba.irreps import Irreps
from tpnumba.models import Graph, Interaction, Network, Radial
from tpnumba.nn.activations import SAMPLED_SCALES
from tpnumba.tables.clebsch_gordan import clebsch_gordan

Array = np.ndarray
#: Features: for each block an array (atom, copy, component).
Blocks = list[Array]


def energies(network: Network, weights: Mapping[str, Array], graph: Graph) -> Array:
    """Of the atoms, in eV."""
    weights = {name: np.asarray(array, np.float64) for name, array in weights.items()}
    species = np.array([network.elements.index(number) for number in graph.numbers])
    lengths = np.sqrt(np.sum(graph.vectors**2, axis=1))
    radial = radial_functions(network.radial, network.cutoff, lengths, weights["radial.frequencies"])
    harmonics = spherical_harmonics(network.lmax, graph.vectors, unit=network.unit_vectors)
    elements = Irreps(f"{len(network.elements)}x0e")
    one_hot = [np.eye(len(network.elements))[species][:, :, None]]
    irreps = Irreps(network.irreps_embedding)
    x = linear(one_hot, elements, irreps, weights["embedding"], weights.get("embedding.bias"))
    for t, interaction in enumerate(network.interactions):
        part = {name.removeprefix(f"interactions.{t}."): array for name, array in weights.items()}
        x, irreps = interact(interaction, part, x, radial, harmonics, graph, species, len(network.elements))
    for number, width in enumerate((*network.hidden, 1)):
        if number and network.readout_activation is not None:
            x = [activated(network.readout_activation, x[0])]
        name, after = f"readout.{number + 1}", Irreps(f"{width}x0e")
        x, irreps = linear(x, irreps, after, weights[name], weights.get(f"{name}.bias")), after
    repelled = np.zeros(len(species)) if network.repulsion is None else repulsion(network, graph, lengths)
    return weights["shift"][species] + weights["scale"][species] * x[0][:, 0, 0] + repelled


def repulsion(network: Network, graph: Graph, lengths: Array) -> Array:
    """Half the repulsion of each pair, for each of its atoms, as LAMMPS's pair_style zbl has it but for its ends."""
    found = np.zeros(len(graph.numbers))
    p = network.repulsion.power
    for e, (sender, receiver) in enumerate(zip(graph.edges.senders, graph.edges.receivers, strict=True)):
        z1, z2, r = float(graph.numbers[receiver]), float(graph.numbers[sender]), lengths[e]
        a = 0.46850 / (z1**0.23 + z2**0.23)
        x = r / a
        screening = 0.18175 * exp(-3.19980 * x) + 0.50986 * exp(-0.94229 * x)
        screening += 0.28022 * exp(-0.40290 * x) + 0.02817 * exp(-0.20162 * x)
        u = r / network.cutoff
        fall = 1 - (p + 1) * (p + 2) / 2 * u**p + p * (p + 2) * u ** (p + 1) - p * (p + 1) / 2 * u ** (p + 2)
        found[receiver] += network.repulsion.prefactor * z1 * z2 / r * screening * fall / 2
    return found


def radial_functions(radial: Radial, cutoff: float, r: Array, frequencies: Array) -> Array:
    """Bessel functions times the envelope, a row an edge."""
    bessel = radial.prefactor * np.sin(r[:, None] * frequencies) / r[:, None]
    x, p = r / cutoff, radial.parameter
    if radial.envelope == "polynomial":
        fall = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    elif radial.envelope == "xplor":
        c, o = cutoff**2, p**2
        fall = np.where(r < p, 1.0, (c - r**2) ** 2 * (c + 2 * r**2 - 3 * o) / (c - o) ** 3)
    else:
        assert radial.envelope == "cosine"
        fall = (1 + np.cos(pi * x)) / 2
    return bessel * fall[:, None]


def spherical_harmonics(lmax: int, vectors: Array, *, unit: bool) -> list[Array]:
    """Of component normalisation, an array (edge, component) a degree: each from the one before, times the vector."""
    r = np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
    direction = vectors / r
    found = [np.ones((len(vectors), 1)), sqrt(3) * direction]
    for degree in range(2, lmax + 1):
        y = np.einsum("ea,eb,abc->ec", direction, found[-1], clebsch_gordan(1, degree - 1, degree))
        found.append(y * sqrt(2 * degree + 1) / np.sqrt(np.sum(y**2, axis=1, keepdims=True)))
    return [y if unit else y * r**degree for degree, y in enumerate(found[: lmax + 1])]


def linear(x: Blocks, irreps_in: Irreps, irreps_out: Irreps, weights: Array, bias: Array | None = None) -> Blocks:
    """A matrix between the copies of each pair of blocks of one irrep, over the root of the copies that are summed."""
    y = [np.zeros((len(x[0]), mul, ir.dim)) for mul, ir in irreps_out]
    start = 0
    for (mul, ir), block in zip(irreps_in, x, strict=True):
        for k, (mul_out, ir_out) in enumerate(irreps_out):
            if ir == ir_out:
                matrix = weights[start : start + mul * mul_out].reshape(mul, mul_out)
                start += mul * mul_out
                summed = sum(other.mul for other in irreps_in if other.ir == ir)
                y[k] += np.einsum("num,uw->nwm", block, matrix) / sqrt(summed)
    assert start == weights.size
    first = 0
    for k, (mul_out, ir_out) in enumerate(irreps_out):
        if bias is not None and (ir_out.l, ir_out.p) == (0, 1):
            y[k][:, :, 0] += bias[first : first + mul_out]
            first += mul_out
    return y


def linear_by_element(
    x: Blocks, irreps_in: Irreps, irreps_out: Irreps, weights: Array, species: Array, elements: int
) -> Blocks:
    """A fully connected product with the element as a vector of zeros and a one."""
    y = [np.zeros((len(x[0]), mul, ir.dim)) for mul, ir in irreps_out]
    one_hot, start = np.eye(elements)[species], 0
    for (mul, ir), block in zip(irreps_in, x, strict=True):
        for k, (mul_out, ir_out) in enumerate(irreps_out):
            if ir == ir_out:
                size = mul * elements * mul_out
                tensor = weights[start : start + size].reshape(mul, elements, mul_out)
                start += size
                summed = elements * sum(other.mul for other in irreps_in if other.ir == ir)
                y[k] += np.einsum("num,nz,uzw->nwm", block, one_hot, tensor) / sqrt(summed)
    assert start == weights.size
    return y


def activated(name: str, x: Array) -> Array:
    """A function of scalars with e3nn's constant in front."""
    functions = {
        "silu": lambda x: x * expit(x),
        "tanh": np.tanh,
        "sigmoid": expit,
        "abs": np.abs,
        "ssp": lambda x: np.logaddexp(0, x) - log(2),
        "relu": lambda x: np.maximum(x, 0),
    }
    return functions[name](x) * SAMPLED_SCALES[name]


def radial_network(widths: list[int], activation: str, x: Array, weights: Array) -> Array:
    """Matrices over the root of their rows, with an activation after each but the last."""
    start = 0
    for i, (rows, columns) in enumerate(pairwise(widths)):
        matrix = weights[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
        x = x @ matrix / sqrt(rows)
        if i < len(widths) - 2:
            x = activated(activation, x)
    assert start == weights.size
    return x


def interact(
    described: Interaction,
    weights: Mapping[str, Array],
    x: Blocks,
    radial: Array,
    harmonics: list[Array],
    graph: Graph,
    species: Array,
    elements: int,
) -> tuple[Blocks, Irreps]:
    """The features after an interaction, and their irreps."""
    irreps, messages = Irreps(described.irreps_in), Irreps(described.irreps_messages)
    scalars, gates, gated = Irreps(described.scalars), Irreps(described.gates), Irreps(described.gated)
    mixed = (scalars + gates + gated).sort().irreps.simplify()
    sent = linear(x, irreps, irreps, weights["linear_1"], weights.get("linear_1.bias"))
    if described.sender_factors:
        sent = [block * np.array(described.sender_factors)[species, None, None] for block in sent]
    count = sum(irreps[i].mul for i, _, _ in described.instructions)
    widths = [radial.shape[1], *described.hidden, count]
    of_edges = radial_network(widths, described.radial_activation, radial, weights["radial"])
    total = [np.zeros((len(species), mul, ir.dim)) for mul, ir in messages]
    start = 0
    for i, j, k in described.instructions:
        mul, ir = irreps[i]
        w = of_edges[:, start : start + mul]
        start += mul
        coupling = clebsch_gordan(ir.l, j, messages[k].ir.l) * sqrt(messages[k].ir.dim)
        coupling = coupling / sqrt(sum(other == k for _, _, other in described.instructions))
        for e, (sender, receiver) in enumerate(zip(graph.edges.senders, graph.edges.receivers, strict=True)):
            total[k][receiver] += np.einsum("u,ua,b,abc->uc", w[e], sent[i][sender], harmonics[j][e], coupling)
    total = [block / described.denominator for block in total]
    y = linear(total, messages, mixed, weights["linear_2"], weights.get("linear_2.bias"))
    if described.self_connection == "none":
        own = [np.zeros_like(block) for block in y]
    elif described.self_connection == "elements":
        own = linear_by_element(x, irreps, mixed, weights["self_connection"], species, elements)
    else:
        own = linear(x, irreps, mixed, weights["self_connection"], weights.get("self_connection.bias"))
    return gate([a + b for a, b in zip(y, own, strict=True)], mixed, described)


def gate(y: Blocks, irreps: Irreps, described: Interaction) -> tuple[Blocks, Irreps]:
    """Activated scalars, and copies times their activated gates, of which each copy has one."""
    groups = [Irreps(described.scalars), Irreps(described.gates), Irreps(described.gated)]
    taken = {ir: 0 for _, ir in irreps}
    merged = {ir: block for (_, ir), block in zip(irreps, y, strict=True)}
    parts: list[list[tuple[Array, int]]] = []
    for group in groups:  # of equal irreps, scalars come before gates
        parts.append([])
        for mul, ir in group:
            parts[-1].append((merged[ir][:, taken[ir] : taken[ir] + mul], ir.p))
            taken[ir] += mul
    even = {"abs"}
    found, out = [], []
    for (block, parity), name, (mul, _) in zip(parts[0], described.scalar_activations, groups[0], strict=True):
        found.append(activated(name, block))
        out.append((mul, (0, 1 if parity == 1 or name in even else -1)))
    numbers, parities = [np.zeros((len(y[0]), 0, 1))], []
    for (block, parity), name in zip(parts[1], described.gate_activations, strict=True):
        numbers.append(activated(name, block))
        parities += [1 if parity == 1 or name in even else -1] * block.shape[1]
    factors, first = np.concatenate(numbers, axis=1), 0
    for (block, parity), (mul, ir) in zip(parts[2], groups[2], strict=True):
        found.append(block * factors[:, first : first + mul])
        assert len(set(parities[first : first + mul])) == 1, "a block of copies has gates of one parity in these tests"
        out.append((mul, (ir.l, parity * parities[first])))
        first += mul
    return found, Irreps(out)
