"""Functions of points and of rotations as works: spherical harmonics with their derivatives, and Wigner D."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

import tpnumba as tp
from benchmarks.bars import HARMONICS, ROTATIONS
from benchmarks.peers import Run
from benchmarks.works import Array, Task, Work


@dataclass(frozen=True)
class Points:
    """Points, shape ``(n, 3)``, or rotation matrices, shape ``(n, 3, 3)``."""

    array: Array

    def rows(self, chosen: npt.NDArray[np.intp]) -> Points:
        """Some of them, in float64."""
        return Points(self.array[chosen].astype(np.float64))


@dataclass(frozen=True, kw_only=True)
class HarmonicsWork(Work):
    """All spherical harmonics of degrees 0 to ``lmax``, orthonormal, and for the Jacobian their derivatives."""

    lmax: int

    @property
    def harmonics(self) -> tp.SphericalHarmonics:
        """Ours."""
        return tp.SphericalHarmonics(self.lmax)

    def operands(self) -> Points:
        """Normally distributed points, the same in every process."""
        rng = np.random.default_rng(0)
        return Points(rng.standard_normal((self.batch, 3), dtype=np.float32).astype(self.dtype))

    def ours(self, given: Points, threads: int) -> Run:
        """By tpnumba."""
        harmonics, points = self.harmonics, given.array
        if self.task is Task.JACOBIAN:
            return Run(lambda: harmonics.value_and_jacobian(points, num_threads=threads))
        kept = np.empty((self.batch, (self.lmax + 1) ** 2), self.dtype)
        return Run(
            lambda: (harmonics(points, num_threads=threads),),
            into=lambda: (harmonics(points, out=kept, num_threads=threads),),
        )

    def reference(self, given: Points) -> tuple[Array, ...]:
        """By the reference backend, on float64; a derivative is the gradient of one harmonic alone."""
        harmonics, points = self.harmonics, given.array
        values = harmonics(points, backend="generic")
        if self.task is not Task.JACOBIAN:
            return (values,)
        ones = np.eye(values.shape[1])
        rows = [
            harmonics.vjp(points, np.broadcast_to(one, values.shape).copy(), backend="generic")[:, None] for one in ones
        ]
        return values, np.concatenate(rows, axis=1).reshape(len(points), -1)


@dataclass(frozen=True, kw_only=True)
class RotationsWork(Work):
    """Wigner D matrices of degrees 0 to ``lmax``, as one block-diagonal matrix a rotation."""

    lmax: int

    @property
    def irreps(self) -> str:
        """Even, so that parities play no part."""
        return " + ".join(f"{degree}e" for degree in range(self.lmax + 1))

    def operands(self) -> Points:
        """Uniformly distributed rotations, the same in every process."""
        return Points(Rotation.random(self.batch, rng=np.random.default_rng(0)).as_matrix().astype(self.dtype))

    def ours(self, given: Points, threads: int) -> Run:  # noqa: ARG002  (it has no threads)
        """By tpnumba."""
        return Run(lambda: (tp.wigner_d(self.irreps, given.array),))

    def reference(self, given: Points) -> tuple[Array, ...]:
        """From harmonics of turned points, ``Y(R s) = D(R) Y(s)``, by quadrature over the sphere, in float64."""
        grid = tp.Grid.exact(2 * self.lmax)
        points, weights = grid.points().reshape(-1, 3), grid.weights.reshape(-1, 1)
        at_points = tp.SphericalHarmonics(self.lmax)
        turned = np.einsum("nij,sj->nsi", given.array, points)
        matrices = at_points(turned, backend="generic").swapaxes(1, 2) @ (weights * at_points(points))
        return (matrices.reshape(len(given.array), -1),)


def harmonics(degrees: tuple[int, ...], points: int) -> Iterator[HarmonicsWork]:
    """Values, and values with derivatives, in both dtypes."""
    for task in (Task.FORWARD, Task.JACOBIAN):
        for dtype in ("float32", "float64"):
            for degree in degrees:
                yield HarmonicsWork(
                    group="harmonics",
                    size=str(degree),
                    kind="harmonics",
                    batch=points,
                    task=task,
                    dtype=dtype,
                    bars=(HARMONICS,),
                    lmax=degree,
                )


def rotations(lmax: int, count: int) -> Iterator[RotationsWork]:
    """In both dtypes."""
    for dtype in ("float32", "float64"):
        yield RotationsWork(
            group="wigner-d",
            size=str(lmax),
            kind="wigner-d",
            batch=count,
            task=Task.FORWARD,
            dtype=dtype,
            bars=(ROTATIONS,),
            lmax=lmax,
        )
