r"""
Dynamics, relaxation and sockets, with ASE
==========================================

A potential becomes a calculator of ASE, and ASE does the rest: it moves atoms, relaxes cells, and speaks to i-PI. The
potential here is Lennard and Jones's, written down in a few lines as any potential of one's own can be; ASE's own
calculator, which shares no code with it, checks the numbers.
"""

# %%
# A potential says its cutoff and its elements, and makes energies of a graph: ``graph.vectors`` lead from each receiver
# to its senders, and what is returned beside the energies of the atoms is the gradient of their sum by these vectors.
# Forces and stress are made of it.

import threading

import matplotlib.pyplot as plt
import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from tpnumba.interop.ase import Calculator
from tpnumba.models.graphs import GraphResult

SIGMA, EPSILON, CUTOFF = 3.4, 0.0104, 8.0  # argon; angstrom and eV


def pair_energy(r):
    """Of two atoms, and its slope."""
    x = (SIGMA / r) ** 6
    return 4 * EPSILON * (x**2 - x), -24 * EPSILON * (2 * x**2 - x) / r


class Argon:
    """Half of the energy of a pair for each of its two edges."""

    cutoff, elements = CUTOFF, (18,)

    def evaluate_graph(self, graph, *, num_threads=None):  # noqa: ARG002
        """Energies of the atoms, and gradients by the vectors."""
        r = np.linalg.norm(graph.vectors, axis=1)
        energy, slope = pair_energy(r)
        energy = (energy - pair_energy(CUTOFF)[0]) / 2
        energies = np.bincount(graph.edges.receivers, weights=energy, minlength=len(graph.numbers))
        return GraphResult(energies, (slope / (2 * r))[:, None] * graph.vectors)


# %%
# A crystal that is disturbed, and the same numbers as ASE's.

crystal = bulk("Ar", a=5.3, cubic=True) * (2, 2, 2)
crystal.rattle(0.1, seed=1)
crystal.calc = Calculator(Argon())
expected = crystal.copy()
expected.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF)
print(f"{len(crystal)} atoms, {crystal.get_potential_energy():.6f} eV")
assert np.isclose(crystal.get_potential_energy(), expected.get_potential_energy(), rtol=1e-12)
np.testing.assert_allclose(crystal.get_forces(), expected.get_forces(), atol=1e-12)
np.testing.assert_allclose(crystal.get_stress(), expected.get_stress(), atol=1e-14)

# %%
# Relaxation, of the atoms and of the cell.

relaxed = crystal.copy()
relaxed.calc = Calculator(Argon())
assert BFGS(FrechetCellFilter(relaxed), logfile=None).run(fmax=1e-3, steps=100)
constant = (relaxed.get_volume() / 8) ** (1 / 3)
print(f"lattice constant {constant:.3f} angstrom, pressure {-relaxed.get_stress()[:3].mean() / units.GPa:.1e} GPa")

# %%
# Dynamics at constant energy. Neighbours within the cutoff and a *skin* are listed, and the list holds until an atom
# has moved by half of the skin; how thick it is changes the time, and no bit of a result.

moving = relaxed.copy()
moving.calc = Calculator(Argon(), skin=1.0)
noise = np.random.default_rng(1).standard_normal((len(moving), 3))
moving.set_momenta(np.sqrt(40 * units.kB * moving.get_masses())[:, None] * (noise - noise.mean(axis=0)))
dynamics = VelocityVerlet(moving, timestep=5 * units.fs)
potential, kinetic = [], []
dynamics.attach(lambda: (potential.append(moving.get_potential_energy()), kinetic.append(moving.get_kinetic_energy())))
dynamics.run(300)
total = np.array(potential) + np.array(kinetic)
print(f"kinetic energy {kinetic[-1]:.3f} eV; the total stays within {np.ptp(total):.1e} eV")
assert np.ptp(total) < 0.02 * kinetic[-1]

time = 0.005 * np.arange(len(total))
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
for name, energy in {"potential": potential, "kinetic": kinetic, "total": total}.items():
    axis.plot(time, np.array(energy) - energy[0], label=name)
axis.set(xlabel="time (ps)", ylabel="change of energy (eV)")
axis.legend()
plt.show()

# %%
# Sockets. i-PI moves the atoms in a process of its own and asks for forces, and so does ASE's ``SocketIOCalculator``.
# What answers is ASE's ``SocketClient`` with the calculator; for i-PI it is all there is to run, with the name or port
# that the ``<ffsocket>`` of i-PI's input has. Here both ends are in one process.

asked = crystal.copy()
answering = crystal.copy()
answering.calc = Calculator(Argon())
with SocketIOCalculator(unixsocket="tpnumba-howto") as server:
    client = SocketClient(unixsocket="tpnumba-howto")
    answer = threading.Thread(target=client.run, args=(answering,), kwargs={"use_stress": True})
    answer.start()
    asked.calc = server
    np.testing.assert_allclose(asked.get_forces(), crystal.get_forces(), atol=1e-12)
    np.testing.assert_allclose(asked.get_stress(), crystal.get_stress(), atol=1e-12)
answer.join()
