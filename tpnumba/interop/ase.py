"""A potential as a calculator of ASE, for its dynamics, relaxations and sockets."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import Calculator as _Calculator
from ase.calculators.calculator import PropertyNotImplementedError, PropertyNotPresent, all_changes, compare_atoms

from tpnumba.models.graphs import EvaluatesGraphs, NeighbourCache, results_of

#: Of the atoms, what no potential here depends on.
_IGNORED = ("initial_charges", "initial_magmoms")


class Calculator(_Calculator):  # type: ignore[misc, unused-ignore]
    """Energy, forces and stress of ``ase.Atoms`` by a potential.

    Units and signs are ASE's: eV, angstrom, stress in eV/angstrom^3 in the order xx, yy, zz, yz, xz, xy. One evaluation
    gives all of them, and they are remembered until positions, numbers, cell or periods change. A structure whose cell
    has no three vectors has no stress.

    Threads may share a calculator; as it remembers the neighbours of one structure, several that move at a time are
    better served by one each. Copies share the potential, pickles hold it; neither holds results.

    Args:
        model: a potential.
        skin: how much further than the cutoff neighbours are listed, in angstrom, see
            `tpnumba.models.graphs.NeighbourCache`; no result depends on it.
        num_threads: as of the potential.

    Raises:
        ValueError: from a calculation, if the structure cannot be evaluated, see `tpnumba.models.graphs.graph_of`.

    Example:
        >>> from ase.build import bulk
        >>> from ase.optimize import BFGS
        >>> from tpnumba.interop.ase import Calculator
        >>> from tpnumba.models.graphs import GraphResult
        >>> class Springs:  # stands for a potential: 1/2 (|v| - 2.5)^2 an edge
        ...     cutoff, elements = 3.0, (29,)
        ...     def evaluate_graph(self, graph, *, num_threads=None):
        ...         r = np.linalg.norm(graph.vectors, axis=1)
        ...         energies = np.bincount(graph.edges.receivers, (r - 2.5) ** 2 / 2, minlength=len(graph.numbers))
        ...         return GraphResult(energies, ((r - 2.5) / r)[:, None] * graph.vectors)
        >>> copper = bulk("Cu", cubic=True)
        >>> copper.positions[0, 0] += 0.3
        >>> copper.calc = Calculator(Springs())
        >>> BFGS(copper, logfile=None).run(fmax=1e-4)
        np.True_
        >>> copper.get_distance(0, 1, mic=True).round(4)
        np.float64(2.5527)
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012 - ASE's way
    ignored_changes = set(_IGNORED)  # noqa: RUF012

    def __init__(self, model: EvaluatesGraphs, *, skin: float = 0.5, num_threads: int | None = None) -> None:
        super().__init__()
        self.model, self.num_threads = model, num_threads
        self._neighbours = NeighbourCache(model.cutoff, skin, elements=model.elements)
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.model, self._neighbours.skin, self.num_threads)

    def __copy__(self) -> Calculator:
        return _rebuild(type(self), self.model, self._neighbours.skin, self.num_threads)

    def __deepcopy__(self, memo: dict[int, Any]) -> Calculator:
        return self.__copy__()

    def get_property(self, name: str, atoms: Any = None, allow_calculation: bool = True) -> Any:
        """One of ``implemented_properties``, of ``atoms`` or of those that were calculated last."""
        if name not in self.implemented_properties:
            raise PropertyNotImplementedError(f"{name} is no property of this calculator")
        with self._lock:
            last, results = self.atoms, self.results
        if atoms is not None and (not results or compare_atoms(last, atoms, excluded_properties=set(_IGNORED))):
            if not allow_calculation:
                return None
            results = self._calculate(atoms)
        if not results:
            raise PropertyNotPresent(f"{name}: nothing was calculated yet, and no atoms are given")
        if name not in results:
            raise PropertyNotImplementedError(f"{name}: the cell of the structure has no three independent vectors")
        value = results[name]
        return value.copy() if isinstance(value, np.ndarray) else value

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = None,  # noqa: ARG002 - one evaluation gives them all
        system_changes: Any = all_changes,  # noqa: ARG002
    ) -> None:
        """Evaluate the potential; ASE calls this, or `get_property`."""
        self._calculate(self.atoms if atoms is None else atoms)

    def _calculate(self, atoms: Any) -> dict[str, float | npt.NDArray[np.float64]]:
        """Results of an evaluation, which other threads do not change while it runs."""
        seen = atoms.copy()
        graph = self._neighbours.graph(seen)
        found = results_of(graph, self.model.evaluate_graph(graph, num_threads=self.num_threads))
        results: dict[str, Any] = {"energy": found.energy, "free_energy": found.energy, "energies": found.energies}
        results["forces"] = found.forces
        if found.stress is not None:
            results["stress"] = found.stress
        with self._lock:
            self.atoms, self.results = seen, results
        return results


def _rebuild(kind: type[Calculator], model: EvaluatesGraphs, skin: float, num_threads: int | None) -> Calculator:
    return kind(model, skin=skin, num_threads=num_threads)
