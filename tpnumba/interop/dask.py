"""Structures evaluated by the workers of ``dask.distributed``, in batches whose results stay on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
import numpy.typing as npt

import tpnumba
from tpnumba.extras import need
from tpnumba.models.graphs import EvaluatesGraphs, Results, check_structure, graph_of, results_of
from tpnumba.outputs import write_whole

Array = npt.NDArray[Any]
Load = Callable[..., EvaluatesGraphs]


class Plain(NamedTuple):
    """What is sent of a structure: its arrays, by the names that ``ase.Atoms`` gives them."""

    numbers: Array
    positions: Array
    cell: Array
    pbc: Array


class _Job(NamedTuple):
    """What a worker needs to evaluate a batch. ``first``: the number of its first structure among all."""

    model: str
    digest: str
    dtype: str
    load: Load | None
    batch: tuple[Plain, ...]
    first: int
    target: str
    num_threads: int | None


def evaluate(
    model_path: str | PathLike[str],
    structures: Iterable[Any],
    client: Any,
    directory: str | PathLike[str],
    *,
    batch: int = 16,
    dtype: str = "float32",
    num_threads: int | None = None,
    load: Load | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Results]:
    """Evaluate structures on many machines; results are bit by bit those of one machine of the same kind.

    Each batch is a task. The worker that has evaluated it writes its results into ``directory``, as a whole file whose
    name is a hash of the potential, the structures, the dtype and the version of this package. What is found there is
    not evaluated again: after a scheduler, or this process, has ended, call with a new client and the same arguments.

    Args:
        model_path: the file of the potential; every worker must see it under this name, with the same content.
        structures: ``ase.Atoms``, or what has their ``positions``, ``numbers``, ``cell`` and ``pbc``.
        client: a ``distributed.Client``.
        directory: where results are kept; this process and every worker must see it under this name.
        batch: structures a task, consecutive ones.
        dtype: of the evaluation.
        num_threads: of each evaluation; no bit of a result depends on it.
        load: what reads the potential, called as ``load(model_path, dtype=dtype)``; by default `tpnumba.models.load`.
        on_progress: called with a description, the number of batches done, and their total.

    Returns:
        Results in the order of the structures, see `tpnumba.models.graphs.Results`.

    Raises:
        ValueError: a structure cannot be evaluated (its number is named), or a file in ``directory`` is damaged.
        RuntimeError: the scheduler was lost, or a worker sees another potential or folder. What was finished is kept.
            (Of a batch by which worker after worker was lost, ``distributed`` raises its own ``KilledWorker``.)
        ImportError: ``dask.distributed`` is not installed.
    """
    distributed = need("distributed", extra="dask")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch must be an integer of at least 1, got {batch!r}")
    jobs = _jobs(Path(model_path).absolute(), structures, Path(directory).absolute(), batch, (dtype, num_threads, load))
    Path(directory).mkdir(parents=True, exist_ok=True)
    waiting = {job.target: job for job in jobs if not Path(job.target).exists()}
    total = len({job.target for job in jobs})
    done = total - len(waiting)
    # Names of this call alone: a task of the same name that an earlier call has cancelled would take these with it.
    call = uuid4().hex
    futures = [
        client.submit(evaluate_batch, job, key=f"tpnumba-{call}-{number}")
        for number, job in enumerate(waiting.values())
    ]
    if on_progress is not None:
        on_progress("batches", done, total)
    try:
        for done, future in enumerate(distributed.as_completed(futures, loop=client.loop), done + 1):  # noqa: B020
            _check(future)
            if on_progress is not None:
                on_progress("batches", done, total)
    finally:
        client.cancel(futures)
    return [results for job in jobs for results in _read(job.target, job.batch)]


def _check(future: Any) -> None:
    """Raise what a task raised; a task that was lost says that the scheduler was."""
    if future.status == "error":
        raise future.exception()
    if future.status != "finished":
        raise RuntimeError(
            f"the scheduler was lost, or a task was cancelled ({future.status}); batches that were finished are kept: "
            "call again with a new client and the same arguments"
        )


def _jobs(
    model: Path, structures: Iterable[Any], directory: Path, batch: int, how: tuple[str, int | None, Load | None]
) -> list[_Job]:
    dtype, num_threads, load = how
    plain = []
    for number, atoms in enumerate(structures):
        try:
            check_structure(atoms)
        except (TypeError, ValueError) as error:
            raise type(error)(f"structure {number}: {error}") from error
        plain.append(_plain(atoms))
    digest = _digest_of(model)
    jobs = []
    for first in range(0, len(plain), batch):
        chosen = tuple(plain[first : first + batch])
        target = str(directory / f"{_name(digest, dtype, load, chosen)}.npz")
        jobs.append(_Job(str(model), digest, dtype, load, chosen, first, target, num_threads))
    return jobs


def _plain(atoms: Any) -> Plain:
    return Plain(
        np.array(atoms.numbers, dtype=np.int64),
        np.array(atoms.positions, dtype=np.float64),
        np.array(atoms.cell, dtype=np.float64),
        np.array(atoms.pbc, dtype=np.bool_),
    )


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _name(digest: str, dtype: str, load: Load | None, batch: Sequence[Plain]) -> str:
    reader = "" if load is None else f"{load.__module__}.{load.__qualname__}"
    whole = hashlib.sha256(repr((tpnumba.__version__, digest, dtype, reader, len(batch))).encode())
    for structure in batch:
        for array in structure:
            whole.update(repr((array.shape, array.dtype.str)).encode())
            whole.update(np.ascontiguousarray(array).tobytes())
    return whole.hexdigest()


@lru_cache(maxsize=4)
def _model(path: str, digest: str, dtype: str, load: Load | None) -> EvaluatesGraphs:
    """The potential of a worker, read once."""
    if (found := _digest_of(Path(path))) != digest:
        raise RuntimeError(f"{path} holds another potential for this worker than for the client ({found}, {digest})")
    if load is None:
        from tpnumba.models import load as load_model

        load = load_model
    model: EvaluatesGraphs = load(path, dtype=dtype)
    return model


def evaluate_batch(job: _Job) -> None:
    """Evaluate a batch and write its results; what a worker does."""
    if Path(job.target).exists():  # by a worker that was lost before it could say so
        return
    model = _model(job.model, job.digest, job.dtype, job.load)
    found = []
    for number, structure in enumerate(job.batch, job.first):
        try:
            graph = graph_of(structure, model.cutoff, elements=model.elements)
        except ValueError as error:
            raise ValueError(f"structure {number}: {error}") from error
        found.append(results_of(graph, model.evaluate_graph(graph, num_threads=job.num_threads)))
    arrays: dict[str, Any] = {
        "energy": np.array([one.energy for one in found]),
        "energies": np.concatenate([one.energies for one in found]),
        "forces": np.concatenate([one.forces for one in found]),
        "stress": np.array([np.zeros(6) if one.stress is None else one.stress for one in found]),
        "stressed": np.array([one.stress is not None for one in found]),
    }
    write_whole(job.target, lambda stream: np.savez(stream, **arrays))


def _read(path: str, batch: Sequence[Plain]) -> list[Results]:
    sizes = [len(structure.numbers) for structure in batch]
    ends = np.cumsum(sizes)
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
            energy, energies, forces = stored["energy"], stored["energies"], stored["forces"]
            stress, stressed = stored["stress"], stored["stressed"]
    except FileNotFoundError as error:
        raise RuntimeError(f"{path} was written by a worker, and is not seen here: the folder is not shared") from error
    except Exception as error:  # zip, npy and NumPy have their own
        raise ValueError(f"{path} is damaged; remove it to evaluate its batch again") from error
    n = len(batch)
    shapes = (energy.shape, energies.shape, forces.shape, stress.shape, stressed.shape)
    if shapes != ((n,), (sum(sizes),), (sum(sizes), 3), (n, 6), (n,)):
        raise ValueError(f"{path} holds results of other structures; remove it to evaluate its batch again")
    return [
        Results(
            float(energy[i]), energies[end - size : end], forces[end - size : end], stress[i] if stressed[i] else None
        )
        for i, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]
