"""Dynamics drift no more than those of ``sevenn``. Runs in the session ``sevenn``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.calculator import Calculator as Base
from ase.calculators.calculator import all_changes
from ase.md.velocitydistribution import Stationary
from ase.md.verlet import VelocityVerlet
from models.dynamics import energy_slope

from tpnumba.interop.ase import Calculator
from tpnumba.models import Potential
from tpnumba.models.sevennet import read_sevennet

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("sevenn", reason="needs sevenn 0.13 and torch==2.13.0 (session sevenn)")
    from models.against_sevenn.original import CHECKPOINTS, Original

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = 1000


class OfOriginal(Base):
    """The original, rebuilt in float64, as a calculator."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, original: Original) -> None:
        super().__init__()
        self.original = original

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        found = self.original.evaluate(self.atoms, None)
        self.results = {"energy": float(found.energies.sum()), "forces": found.forces}


def energies_of(calculator: Any) -> list[float]:
    """The total energies of eight atoms of silicon at about 300 K, after each step of 1 fs."""
    atoms = bulk("Si", a=5.43, cubic=True)
    atoms.rattle(0.02, seed=1)
    atoms.calc = calculator
    spread = np.sqrt(atoms.get_masses() * units.kB * 600)
    atoms.set_momenta(np.random.default_rng(1).standard_normal((8, 3)) * spread[:, None])
    Stationary(atoms)
    dynamics, energies = VelocityVerlet(atoms, 1.0 * units.fs), []
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    dynamics.run(STEPS)
    return energies[1:]


def test_the_slope_of_the_energy_is_that_of_the_original():
    path = CHECKPOINTS["SevenNet_0__11Jul2024"]
    ours = energies_of(Calculator(Potential(*read_sevennet(path), dtype="float64")))
    theirs = energies_of(OfOriginal(Original(path, "float64")))
    (slope, _), (wanted, error) = energy_slope(ours), energy_slope(theirs)
    print(f"slopes {slope:.3e} and, of the original, {wanted:.3e} +- {error:.1e} eV/ps")
    assert abs(slope - wanted) < 2 * error
    # The same path, until rounding has grown: every step has the same energy.
    np.testing.assert_allclose(ours[:50], theirs[:50], rtol=0, atol=1e-9)
