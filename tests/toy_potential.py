"""A potential of pairs that is Lennard and Jones's with a smooth end, where tests need one of known mathematics."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tpnumba.models.graphs import Graph, GraphResult, Results, graph_of, results_of


class LennardJones:
    """Half of ``4 epsilon (x^12 - x^6)``, x = sigma/r, an edge, shifted and tilted to end at the cutoff in zero."""

    def __init__(
        self,
        cutoff: float = 5.0,
        elements: tuple[int, ...] = (6, 8, 13, 18, 29),
        *,
        epsilon: float = 0.01,
        sigma: float = 2.4,
        dtype: str = "float64",
        seconds: float = 0.0,
    ) -> None:
        self.cutoff, self.elements, self.dtype = cutoff, elements, dtype
        self.epsilon, self.sigma, self.seconds = epsilon, sigma, seconds

    def _pair(self, r: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        x = (self.sigma / r) ** 6
        return 4 * self.epsilon * (x**2 - x), -24 * self.epsilon * (2 * x**2 - x) / r

    def evaluate_graph(self, graph: Graph, *, num_threads: int | None = None) -> GraphResult:  # noqa: ARG002
        time.sleep(self.seconds)
        r = np.linalg.norm(graph.vectors, axis=1)
        energy, slope = self._pair(r)
        end, tilt = self._pair(self.cutoff)
        energy = (energy - end - tilt * (r - self.cutoff)) / 2
        energies = np.bincount(graph.edges.receivers, weights=energy, minlength=len(graph.numbers))
        gradients = ((slope - tilt) / (2 * r))[:, None] * graph.vectors
        return GraphResult(energies.astype(self.dtype), gradients.astype(self.dtype))

    def evaluate(self, atoms, *, num_threads: int | None = None) -> Results:
        graph = graph_of(atoms, self.cutoff, elements=self.elements)
        return results_of(graph, self.evaluate_graph(graph, num_threads=num_threads))


def load(path: str, *, dtype: str = "float64", radial: str = "network") -> LennardJones:
    """From a file that holds the cutoff and, for a slow one, the seconds that an evaluation takes."""
    assert radial == "network", "it has no radial networks that tables could stand for"
    cutoff, *rest = (float(word) for word in Path(path).read_text().split())
    return LennardJones(cutoff, dtype=dtype, seconds=rest[0] if rest else 0.0)
