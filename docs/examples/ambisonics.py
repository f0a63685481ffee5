r"""
Rotating an ambisonic scene
===========================

An ambisonic signal of order L is :math:`(L + 1)^2` channels, a plane wave from direction :math:`r` being encoded by the
harmonics :math:`Y_{lm}(r)`. When the listener's head turns, all channels of a degree are mixed by the Wigner D matrix
of the turn. Channels here are AmbiX (ACN order, SN3D, x front, y left, z up).
"""

# %%
# A scene
# -------
#
# Three sources with a signal each, encoded by formulas that have nothing to do with tpnumba: SciPy's complex
# harmonics, made real and normalised as AmbiX wants them.

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y

import tpnumba as tp

ORDER = 5
rng = np.random.default_rng(0)
directions = rng.standard_normal((3, 3))
directions /= np.linalg.norm(directions, axis=1, keepdims=True)
signals = rng.standard_normal((3, 4800))  # a tenth of a second at 48 kHz


def encode(directions):
    """AmbiX gains of plane waves, shape ``(..., (ORDER + 1)**2)``, from SciPy."""
    theta = np.arccos(directions[..., 2])
    phi = np.arctan2(directions[..., 1], directions[..., 0])
    channels = []
    for degree in range(ORDER + 1):
        for m in range(-degree, degree + 1):
            y = sph_harm_y(degree, abs(m), theta, phi) * (-1.0) ** m  # without the Condon-Shortley sign
            real = y.real if m >= 0 else y.imag
            channels.append(real * np.sqrt((1 if m == 0 else 2) * 4 * np.pi / (2 * degree + 1)))
    return np.stack(channels, axis=-1)


scene = signals.T @ encode(directions)  # (samples, channels)

# %%
# The turn
# --------
#
# ``tp.rotate`` turns features in tpnumba's own convention, so the signal is converted, turned and converted back.
# Ambisonic channels are *values* of harmonics, not coefficients in front of them: ``kind="values"``. Directions x, y, z
# stay what they are, so the rotation is the one you would apply to the sources.

irreps = tp.Irreps.spherical_harmonics(ORDER)
turn = Rotation.from_euler("ZYX", [40, -20, 10], degrees=True)  # yaw, pitch, roll of the scene


def rotate_scene(scene, rotation):
    """The scene after a rotation of all its sources, shape as before."""
    inside = tp.convert(scene, ORDER, source="sn3d", target="e3nn", kind="values")
    turned = tp.rotate(irreps, rotation, inside)
    return tp.convert(turned, ORDER, source="e3nn", target="sn3d", kind="values")


turned = rotate_scene(scene, turn)
expected = signals.T @ encode(turn.apply(directions))
deviation = np.max(np.abs(turned - expected)) / np.max(np.abs(expected))
print(f"greatest deviation from encoding the turned sources: {deviation:.1e}")
assert deviation < 1e-13

# %%
# For a stream, make the matrix once for each block and multiply: it has one block for each degree, ``M`` below maps
# channels to channels. A rotation for each sample (head tracking) is ``rotate_scene`` with a batch of rotations.

M = rotate_scene(np.eye((ORDER + 1) ** 2), turn).T
assert np.max(np.abs(scene @ M.T - turned)) < 1e-13 * np.max(np.abs(turned))
steps = Rotation.from_rotvec(np.linspace(0, 1, len(scene))[:, None] * turn.as_rotvec())
moving = rotate_scene(scene, steps)
assert np.max(np.abs(moving[-1] - turned[-1])) < 1e-13 * np.max(np.abs(turned))
print(moving.shape)

# %%
# The power that arrives from each direction (a beam of order 5), before and after the turn; crosses are the sources.

azimuth, elevation = np.meshgrid(np.linspace(-np.pi, np.pi, 121), np.linspace(-np.pi / 2, np.pi / 2, 61))
looks = np.stack([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1)
degree_of = np.repeat(np.arange(ORDER + 1), 2 * np.arange(ORDER + 1) + 1)
beams = encode(looks) * (2 * degree_of + 1)
figure, axes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
for axis, heard, sources, title in (
    (axes[0], scene, directions, "the scene"),
    (axes[1], turned, turn.apply(directions), "turned"),
):
    covariance = heard.T @ heard
    power = np.einsum("...i,ij,...j->...", beams, covariance, beams)
    axis.pcolormesh(np.degrees(azimuth), np.degrees(elevation), power, cmap="viridis", rasterized=True)
    where = np.arctan2(sources[:, 1], sources[:, 0]), np.arcsin(sources[:, 2])
    axis.plot(*np.degrees(where), "rx", markersize=9)
    axis.set(title=title, xlabel="azimuth", ylabel="elevation", xlim=(180, -180))
    axis.label_outer()
plt.show()
