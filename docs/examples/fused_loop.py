r"""
Products inside your own loops
==============================

A descriptor of an atom's surroundings is a loop: over neighbours, of each the harmonics of its direction, added up with
radial weights, and at the end a product of the sum with itself. With arrays, each of these steps is a pass over memory,
with harmonics and weights of every pair in between. Here the loop is written as it is thought, compiled by Numba, with
the harmonics and the product as functions inside of it; and held against the same in arrays.
"""

# %%
# Neighbours
# ----------
#
# Copper atoms a little off their places. ASE lists pairs sorted by the first atom, so that the pairs of atom i stand
# from ``first[i]`` to before ``first[i + 1]``.

import time

import numba
import numpy as np
from ase.build import bulk
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

import tpnumba as tp

CUTOFF, N_RADIAL, L_MAX = 5.0, 4, 3
rng = np.random.default_rng(0)
atoms = bulk("Cu", cubic=True) * (5, 5, 5)
atoms.positions += 0.1 * rng.standard_normal(atoms.positions.shape)
centres, _, vectors = neighbor_list("ijD", atoms, CUTOFF)
first = np.searchsorted(centres, np.arange(len(atoms) + 1))
print(f"{len(atoms)} atoms, {len(vectors):,} pairs")

# %%
# With arrays
# -----------
#
# The density of neighbours, ``c[i, n, lm]``, is the sum over pairs of radial functions (Gaussians on a grid of radii,
# and a cosine that ends at the cutoff) times harmonics. The Gaunt product of a density with itself is the density
# squared, as a function on the sphere: an equivariant feature of two neighbours at a time.

harmonics = tp.SphericalHarmonics(L_MAX)
product = tp.GauntTensorProduct(L_MAX, L_MAX)
radii = np.linspace(2.0, CUTOFF, N_RADIAL)


def with_arrays(vectors):
    """The features of all atoms, shape ``(atoms, N_RADIAL, (2 L_MAX + 1)^2)``."""
    r = np.linalg.norm(vectors, axis=-1)
    envelope = 0.5 * (1 + np.cos(np.pi * r / CUTOFF))
    weights = envelope[:, None] * np.exp(-((r[:, None] - radii) ** 2))
    of_pairs = weights[:, :, None] * harmonics(vectors)[:, None, :]
    density = np.add.reduceat(of_pairs, first[:-1])  # every atom has neighbours
    return product(density, density)


# %%
# In one loop
# -----------
#
# ``numba_kernel`` gives the functions of one point and of one sample: ``Y(out, point)`` and ``multiply(out, x1, x2)``.
# What they need to know of the plan is part of the machine code of the loop, and nothing is allocated but the memory of
# one atom, which each thread keeps in its cache. ``cache=True`` would keep the machine code in a file.

Y = harmonics.numba_kernel()
multiply = product.numba_kernel()
print(Y, multiply, sep="\n")


@numba.njit(parallel=True)
def in_one_loop(vectors, first, radii, cutoff, out):
    """The same, written into ``out``."""
    for i in numba.prange(len(first) - 1):
        density = np.zeros((len(radii), Y_SIZE))
        of_pair = np.empty(Y_SIZE)
        for pair in range(first[i], first[i + 1]):
            vector = vectors[pair]
            r = np.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
            Y(of_pair, vector)
            envelope = 0.5 * (1 + np.cos(np.pi * r / cutoff))
            for n in range(len(radii)):
                weight = envelope * np.exp(-((r - radii[n]) ** 2))
                for k in range(Y_SIZE):
                    density[n, k] += weight * of_pair[k]
        for n in range(len(radii)):
            multiply(out[i, n], density[n], density[n])


Y_SIZE = harmonics.irreps.dim
features = np.empty((len(atoms), N_RADIAL, product.irreps_out.dim))
in_one_loop(vectors, first, radii, CUTOFF, features)

# %%
# The same numbers, but for rounding; and features that turn with the atoms.

expected = with_arrays(vectors)
deviation = np.max(np.abs(features - expected)) / np.max(np.abs(expected))
print(f"greatest deviation from arrays: {deviation:.1e}")
assert deviation < 1e-13

R = Rotation.random(rng=rng).as_matrix()
turned = np.empty_like(features)
in_one_loop(vectors @ R.T, first, radii, CUTOFF, turned)
np.testing.assert_allclose(
    turned, tp.rotate(product.irreps_out, R, features), rtol=0, atol=1e-12 * np.max(np.abs(features))
)

# %%
# Time
# ----
#
# Each in turn, the best of several; only the ratio means something. Both use all cores where they can. What is gained
# is that nothing of a pair goes through memory. Products of higher degrees are quicker called with arrays, whose
# kernels work on 8 or 16 samples at a time: :doc:`/performance` has both, side by side.

best = {"arrays": np.inf, "one loop": np.inf}
for _ in range(9):
    start = time.perf_counter()
    with_arrays(vectors)
    between = time.perf_counter()
    in_one_loop(vectors, first, radii, CUTOFF, features)
    end = time.perf_counter()
    best = {"arrays": min(best["arrays"], between - start), "one loop": min(best["one loop"], end - between)}
print(f"arrays take {best['arrays'] / best['one loop']:.1f} times as long as the loop")

# %%
# Weighted products take their weights last, ``kernel(out, x1, x2, weights)``. How large a product may be, and what is
# compiled, says :meth:`tpnumba.TensorProduct.numba_kernel`; the same for a GPU is in :doc:`cuda_kernels`.
