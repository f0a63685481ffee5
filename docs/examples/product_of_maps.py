r"""
Product of two maps, with pyshtools' coefficients
=================================================

A mask times a field, a topography times a density: in coefficients, the product of two functions on the sphere is the
Gaunt product. Coefficients of pyshtools go in and come out here, and pyshtools itself, which multiplies on a grid of
its own, checks the result.
"""

# %%
# Two maps of degrees 20 and 12, as pyshtools makes and stores them: shape ``(2, lmax + 1, lmax + 1)``, cosines and
# sines apart, normalised to :math:`4 \pi`, no Condon-Shortley sign.

import matplotlib.pyplot as plt
import numpy as np
import pyshtools

import tpnumba as tp

L1, L2 = 20, 12
first = pyshtools.SHCoeffs.from_random(1 / (1 + np.arange(L1 + 1.0)) ** 2, seed=1)
second = pyshtools.SHCoeffs.from_random(1 / (1 + np.arange(L2 + 1.0)) ** 2, seed=2)

# %%
# Into tpnumba's order, multiplied, and back. Nothing is cut off if the result goes to degree ``L1 + L2``, which is the
# default.

x = tp.convert(first.to_array(), L1, source="shtools", target="e3nn")
y = tp.convert(second.to_array(), L2, source="shtools", target="e3nn")
product = tp.GauntTensorProduct(L1, L2)
z = product(x, y)
cilm = tp.convert(z, L1 + L2, source="e3nn", target="shtools")
print(f"method: {product.method}, result: {cilm.shape}")

# %%
# pyshtools expands both on a Gauss-Legendre grid that is fine enough for the product, multiplies the values and
# analyses them.

grids = [c.pad(lmax=L1 + L2).expand(grid="GLQ") for c in (first, second)]
expected = (grids[0] * grids[1]).expand().to_array()
deviation = np.max(np.abs(cilm - expected)) / np.max(np.abs(expected))
print(f"greatest deviation from pyshtools: {deviation:.1e}")
assert deviation < 1e-12

# %%
# If only large scales of the product are wanted, say so: ``lmax_out`` makes grid and work smaller, and what is left
# out does not leak into what is kept.

coarse = tp.GauntTensorProduct(L1, L2, 8)
assert np.max(np.abs(coarse(x, y) - z[: 9**2])) < 1e-12 * np.max(np.abs(z))

# %%
# The three maps, drawn from their coefficients on a grid of tpnumba.

grid = tp.Grid(60, 120)
figure, axes = plt.subplots(1, 3, figsize=(10, 2.3), layout="constrained")
for axis, (name, coefficients) in zip(axes, {"first": x, "second": y, "product": z}.items(), strict=True):
    values = tp.to_grid(coefficients, int(len(coefficients) ** 0.5) - 1, grid)
    limit = np.max(np.abs(values))
    places = np.degrees(grid.alpha), np.degrees(np.arcsin(grid.cos_beta))
    axis.pcolormesh(*places, values, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True)
    axis.set(title=name, xlabel="longitude about y", ylabel="latitude")
    axis.label_outer()
plt.show()
