"""What the tests of potentials share: changes of structures, and slopes of energies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def rotation(seed: int = 0) -> np.ndarray:
    """A proper rotation."""
    turned, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return turned * np.sign(np.linalg.det(turned))


def rotated(atoms: Atoms, turn: np.ndarray) -> Atoms:
    changed = atoms.copy()
    changed.set_cell(atoms.cell.array @ turn.T)
    changed.positions = atoms.positions @ turn.T
    return changed


def full(stress: np.ndarray) -> np.ndarray:
    """The matrix of a stress."""
    found = np.empty((3, 3))
    for value, (a, b) in zip(stress, VOIGT, strict=True):
        found[a, b] = found[b, a] = value
    return found


def numerical_forces(energy: Callable[[Atoms], float], atoms: Atoms, step: float) -> np.ndarray:
    """By differences of fourth order."""
    found = np.empty((len(atoms), 3))
    for place in np.ndindex(*found.shape):

        def moved(by: float, place: tuple[int, ...] = place) -> float:
            changed = atoms.copy()
            changed.positions[place] += by
            return energy(changed)

        found[place] = -slope(moved, step)
    return found


def numerical_stress(energy: Callable[[Atoms], float], atoms: Atoms, step: float) -> np.ndarray:
    found = np.empty(6)
    for number, (a, b) in enumerate(VOIGT):

        def strained(by: float, a: int = a, b: int = b) -> float:
            strain = np.eye(3)
            strain[a, b] += by / 2
            strain[b, a] += by / 2
            changed = atoms.copy()
            changed.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            return energy(changed)

        found[number] = slope(strained, step) / atoms.get_volume()
    return found


def slope(function: Callable[[float], float], step: float) -> float:
    far, near = function(2 * step) - function(-2 * step), function(step) - function(-step)
    return (8 * near - far) / (12 * step)
