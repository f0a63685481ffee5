r"""
Message passing on a graph
==========================

In NequIP, MACE and their kin, each atom sends its features along its edges: a product with the harmonics of the edge,
by weights that a small network makes of its length, summed where the edge ends. Done with arrays, that is a gather, a
product and ``np.add.at``, with an array of messages between them that is larger than all the rest. A *convolution* does
the three at once. Here both are done on a crystal, and compared: the sums, the forces, and the memory.
"""

# %%
# A graph
# -------
#
# Copper atoms a little off their places, and their neighbours within 4 angstrom. ASE lists pairs (i, j) with the vector
# from i to j; atom i hears from its neighbour j, so j is the sender.

import tracemalloc

import matplotlib.pyplot as plt
import numpy as np
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

import tpnumba as tp
from tpnumba import nn

CUTOFF, CHANNELS = 4.0, 16
rng = np.random.default_rng(0)
atoms = bulk("Cu", cubic=True) * (4, 4, 4)
atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
receivers, senders, vectors = neighbor_list("ijD", atoms, CUTOFF)
edges = tp.Edges(senders, receivers, len(atoms))
print(edges)

# %%
# What stands on its edges
# ------------------------
#
# Harmonics of the directions, and for each length the weights of the product, by a basis, an envelope that ends at the
# cutoff, and a network of one hidden layer.

irreps = tp.Irreps(f"{CHANNELS}x0e + {CHANNELS}x1o + {CHANNELS}x2e")
harmonics = tp.SphericalHarmonics(2, normalization="component")
product = tp.ChannelwiseTensorProduct(irreps, harmonics.irreps, "0e + 1o + 2e")
conv = tp.TensorProductConvolution(product)
embedding = nn.RadialEmbedding(nn.BesselBasis(8, CUTOFF), nn.PolynomialEnvelope(CUTOFF, p=6))
network = nn.MLP([8, 32, conv.weight_numel], nn.Activation.normalized("silu"))
parameters = rng.standard_normal(network.weight_numel)
features = rng.standard_normal((len(atoms), irreps.dim))
print(conv)


def on_edges(vectors):
    """Harmonics and weights of the edges, with what their gradients need."""
    lengths = nn.edge_lengths(vectors)
    radial = embedding(lengths)
    return harmonics(vectors), network(radial, parameters), lengths, radial


attributes, weights, lengths, radial = on_edges(vectors)

# %%
# The convolution
# ---------------
#
# The arguments are the features of the *nodes*, then what stands on the edges, a row each, then the edges themselves.

found = conv(features, attributes, weights, edges)

messages = product(features[senders], attributes, weights)
expected = np.zeros((len(atoms), product.irreps_out.dim))
np.add.at(expected, receivers, messages)
deviation = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
print(f"greatest deviation from gather, product and np.add.at: {deviation:.1e}")
assert deviation < 1e-13

# %%
# To turn the crystal, and the features of its atoms with it, is to turn the result; mirror images included.

R = -Rotation.random(rng=rng).as_matrix()
turned = conv(tp.rotate(irreps, R, features), *on_edges(vectors @ R.T)[:2], edges)
np.testing.assert_allclose(turned, tp.rotate(product.irreps_out, R, found), rtol=0, atol=1e-10 * np.max(np.abs(found)))

# %%
# Forces
# ------
#
# Say the energy is a sum over the scalars that the atoms receive. Its gradient goes back through the convolution to
# harmonics and weights, and from both to the vectors of the edges. An edge pulls its two ends in opposite directions.

scalars = slice(0, product.irreps_out.count("0e"))  # blocks are sorted by irrep


def energy(vectors):
    """Of all atoms."""
    return np.sum(np.tanh(conv(features, *on_edges(vectors)[:2], edges)[:, scalars]))


cotangent = np.zeros_like(found)
cotangent[:, scalars] = 1 - np.tanh(found[:, scalars]) ** 2
_, of_attributes, of_weights = conv.vjp(features, attributes, cotangent, edges, weights=weights)
of_lengths = embedding.vjp(lengths, network.vjp_input(radial, of_weights, weights=parameters))
of_vectors = harmonics.vjp(vectors, of_attributes) + nn.edge_lengths_vjp(vectors, lengths, of_lengths)
forces = np.zeros((len(atoms), 3))
np.add.at(forces, receivers, of_vectors)
np.add.at(forces, senders, -of_vectors)

# %%
# Against differences of energies, along one displacement of all atoms:

step = 1e-5 * rng.standard_normal(forces.shape)
along = step[senders] - step[receivers]
difference = (energy(vectors - along) - energy(vectors + along)) / 2
print(f"work of the forces {np.sum(forces * step):.12e}, loss of energy {difference:.12e}")
np.testing.assert_allclose(np.sum(forces * step), difference, rtol=1e-6)

# %%
# Memory
# ------
#
# The convolution has no array of messages, forward or backward, so that what it takes beside operands and results does
# not grow with the graph.


def by_arrays(nodes, attributes, weights):
    """Gather, product and sum."""
    out = np.zeros((len(atoms), product.irreps_out.dim))
    np.add.at(out, receivers, product(nodes[senders], attributes, weights))
    return out


def peak(function):
    """Bytes at most, beyond the result."""
    tracemalloc.start()
    result = function()
    taken = tracemalloc.get_traced_memory()[1] - result.nbytes
    tracemalloc.stop()
    return taken


taken = {
    "gather, product,\nnp.add.at": peak(lambda: by_arrays(features, attributes, weights)),
    "convolution": peak(lambda: conv(features, attributes, weights, edges)),
}
assert taken["convolution"] < 2**20 < taken["gather, product,\nnp.add.at"]
figure, axis = plt.subplots(figsize=(6, 2), layout="constrained")
bars = axis.barh(list(taken), [size / 2**20 for size in taken.values()])
axis.bar_label(bars, fmt="{:.2f} MiB", padding=3)
axis.set(xlabel=f"memory beyond operands and result, {len(edges):,} edges (MiB)")
axis.margins(x=0.15)
plt.show()
