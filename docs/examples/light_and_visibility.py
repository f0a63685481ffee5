r"""
Light times visibility
======================

In precomputed radiance transfer, the light that a point of a surface sends out is the integral over all directions of
incoming light times visibility times the cosine to the normal. With all three in spherical harmonics, the integral of
a product of three functions is a scalar product with a Gaunt product, and no direction is ever sampled.
"""

# %%
# Light and what stands in its way
# --------------------------------
#
# The light is a bright sky around a sun; the obstacle is a soft edge. Both are expanded by analysis on a grid. The
# cosine to the normal, cut off at the horizon, is a zonal function; its expansion does not end, so it too is taken to
# the degree that is kept.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import sph_harm_y

import tpnumba as tp

L = 6
grid = tp.Grid.exact(80)  # fine: none of these functions ends at degree L
directions = grid.points()
sun = np.array([0.3, 0.9, 0.3]) / np.linalg.norm([0.3, 0.9, 0.3])
light = 0.3 + 5 * np.exp(8 * (directions @ sun - 1))
visibility = 1 / (1 + np.exp(-6 * directions @ np.array([1.0, 0.2, 0.0])))
light, visibility = (tp.from_grid(f, L, grid) for f in (light, visibility))


def zonal():
    """What takes harmonics at n to the coefficients of ``max(0, r . n)``, shape ``((L + 1)**2,)`` (Funk and Hecke)."""
    t, weights = np.polynomial.legendre.leggauss(200)
    t, weights = (t + 1) / 2, weights / 2  # only where the cosine is positive
    legendre = np.polynomial.legendre.legvander(t, L)
    return np.repeat(2 * np.pi * (weights * t) @ legendre, 2 * np.arange(L + 1) + 1)


def clamped_cosine(normals):
    """The coefficients of ``max(0, r . n)`` up to degree L, shape ``(..., (L + 1)**2)``."""
    return tp.SphericalHarmonics(L)(normals) * zonal()


# %%
# The product
# -----------
#
# What arrives unhindered is the product of light and visibility. It is needed only to the degree of what it is
# integrated with, so the output stops at L, and nothing of what is kept is in error for that.

arriving = tp.GauntTensorProduct(L, L, L)(light, visibility)

# %%
# Then one scalar product for each normal of a surface, here a sphere.

height, width = np.mgrid[1:-1:200j, -1:1:200j]
inside = height**2 + width**2 < 1
depth = np.sqrt(np.where(inside, 1 - height**2 - width**2, 0))
normals = np.stack([width, height, depth], axis=-1)
radiance = np.where(inside, clamped_cosine(normals) @ arriving, np.nan) / np.pi

# %%
# Check: the same integral as a sum over directions, with the three functions evaluated there by SciPy's harmonics.


def by_scipy(r):
    """Real orthonormal harmonics with the polar axis y, shape ``(..., (L + 1)**2)``, from SciPy's complex ones."""
    columns = []
    for degree in range(L + 1):
        for m in range(-degree, degree + 1):
            y = sph_harm_y(degree, abs(m), np.arccos(r[..., 1]), np.arctan2(r[..., 0], r[..., 2])) * (-1.0) ** m
            columns.append(y.real if m == 0 else np.sqrt(2) * (y.real if m > 0 else y.imag))
    return np.stack(columns, axis=-1)


fine = tp.Grid.exact(3 * L)  # the degree of the product of all three
points, weights = fine.points().reshape(-1, 3), fine.weights.ravel()
Y = by_scipy(points)
some = normals[inside][::997]
expected = (weights * (Y @ light) * (Y @ visibility)) @ (Y @ (by_scipy(some) * zonal()).T) / np.pi
found = radiance[inside][::997]
deviation = np.max(np.abs(found - expected)) / np.max(np.abs(expected))
print(f"greatest deviation from the sum over {len(points)} directions, {len(some)} normals: {deviation:.1e}")
assert deviation < 1e-13

# %%
figure, axes = plt.subplots(1, 2, figsize=(7, 3.3), layout="constrained")
unshadowed = np.where(inside, clamped_cosine(normals) @ light, np.nan) / np.pi
for axis, (name, image) in zip(axes, {"light": unshadowed, "light times visibility": radiance}.items(), strict=True):
    axis.imshow(image, cmap="inferno", vmin=0, vmax=np.nanmax(unshadowed))
    axis.set(title=name)
    axis.axis("off")
plt.show()

# %%
# Moving lights only change ``light``. Where the transfer itself is wanted as a matrix, from light to what arrives,
# contract the sparse coefficients with the visibility: they are :meth:`~tpnumba.GauntTensorProduct.coefficients`.

shape, (i, j, k), values = tp.GauntTensorProduct(L, L, L).coefficients()
transfer = np.zeros((shape[2], shape[0]))
np.add.at(transfer, (k, i), values * visibility[j])
assert np.max(np.abs(transfer @ light - arriving)) < 1e-13 * np.max(np.abs(arriving))
