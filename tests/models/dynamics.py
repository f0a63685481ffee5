"""The drift of the total energy in dynamics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def energy_slope(energies: Sequence[float]) -> tuple[float, float]:
    """The slope of the total energies after steps of 1 fs, in eV/ps, and its standard error.

    Means of 50 steps, several periods of the fastest vibration, stand for points that know nothing of each other.
    """
    means = np.reshape(energies, (-1, 50)).mean(axis=1)
    time = np.arange(means.size) * 0.05  # ps
    (slope, _), covariance = np.polyfit(time, means, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))
