r"""
Rotating a diffusion MRI signal
===============================

When diffusion-weighted images are registered, the signal of each voxel must be turned along with the head. The signal
is antipodally symmetric, so it is expanded in even degrees only, often up to 8 or 12. Rotating coefficients is exact;
resampling directions is not.
"""

# %%
# A signal
# --------
#
# Two fibre bundles that cross, each a diffusion tensor: :math:`S(g) = \sum_i f_i \exp(-b\, g^T D_i g)`, measured along
# 120 directions. Coefficients are fitted by least squares, as in practice; for this the harmonics of even degrees are
# taken as columns.

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.transform import Rotation

import tpnumba as tp

L = 12
even = list(range(0, L + 1, 2))
columns = np.concatenate([np.arange(degree**2, (degree + 1) ** 2) for degree in even])
irreps = tp.Irreps([(1, (degree, 1)) for degree in even])
print(irreps, irreps.dim)

golden = np.pi * (3 - np.sqrt(5))
n = np.arange(120)
z = 1 - (2 * n + 1) / 120
gradients = np.stack([np.sqrt(1 - z**2) * np.cos(golden * n), np.sqrt(1 - z**2) * np.sin(golden * n), z], axis=-1)

B_VALUE = 1.0  # ms / um^2
tensors = np.stack(
    [
        rotation.as_matrix() @ np.diag([1.7, 0.3, 0.3]) @ rotation.as_matrix().T
        for rotation in (Rotation.identity(), Rotation.from_rotvec([0, 0, np.pi / 3]))
    ]
)
fractions = np.array([0.6, 0.4])


def signal(g, tensors):
    """The signal along directions, shape ``(len(g),)``."""
    return np.exp(-B_VALUE * np.einsum("na,tab,nb->nt", g, tensors, g)) @ fractions


harmonics = tp.SphericalHarmonics(L)
design = harmonics(gradients)[:, columns]
coefficients, *_ = np.linalg.lstsq(design, signal(gradients, tensors), rcond=None)
residual = np.max(np.abs(design @ coefficients - signal(gradients, tensors)))
print(f"greatest residual of the fit: {residual:.1e}")

# %%
# The rotation
# ------------
#
# ``irreps`` names the even degrees that are there, and ``tp.rotate`` takes any such feature. Voxels are leading axes:
# one rotation for all, or one for each.

R = Rotation.from_euler("xyz", [12, -7, 30], degrees=True)
turned = tp.rotate(irreps, R, coefficients)

# %%
# Check: the signal of the turned tensors :math:`R D R^T`, along directions at which nothing was fitted. It differs by
# what degree 12 leaves out, which the residual has told, and by nothing else.

others = Rotation.from_rotvec([0.3, 0.5, -0.2]).apply(gradients)
expected = signal(others, R.as_matrix() @ tensors @ R.as_matrix().T)
deviation = np.max(np.abs(harmonics(others)[:, columns] @ turned - expected))
print(f"greatest deviation from the signal of the turned tensors: {deviation:.1e}")
assert deviation < 10 * residual < 1e-4

# %%
# The signal in the plane of the two bundles, and the turned signal in the turned plane: the same curve.

angle = np.linspace(0, 2 * np.pi, 361)
circle = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=-1)
figure, axis = plt.subplots(figsize=(3.6, 3.6), subplot_kw={"projection": "polar"}, layout="constrained")
axis.plot(angle, harmonics(circle)[:, columns] @ coefficients, label="before")
axis.plot(angle, harmonics(R.apply(circle))[:, columns] @ turned, "--", label="turned, in turned directions")
axis.plot(angle, harmonics(circle)[:, columns] @ turned, ":", label="turned, in the same directions")
axis.set(yticklabels=[])
axis.legend(loc="lower center", fontsize=8, bbox_to_anchor=(0.5, -0.35))
plt.show()

# %%
# Features that do not depend on the orientation of the head are power in each degree, as in
# :doc:`power_spectrum`, and rotation leaves them alone to rounding.

blocks = irreps.slices()
power = np.array([[np.sum(c[block] ** 2) for block in blocks] for c in (coefficients, turned)])
np.testing.assert_allclose(power[0], power[1], rtol=1e-9)
print(np.round(power[0], 6))

# %%
# Coefficients of other programs, ordered by even degrees alone, go through :func:`tpnumba.convert` after odd degrees
# have been filled in with zeros: MRtrix and current DIPY use orthonormal real harmonics with polar axis z. Which sign
# and order of m a program uses has changed between versions; look it up, and try it on ``Y`` at a known point.
