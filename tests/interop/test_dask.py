"""Many machines give the numbers of one, also when a worker or the scheduler is killed half-way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ase.build
import numpy as np
import pytest
import toy_potential
from ase import Atoms

from tpnumba.models.graphs import Results

distributed = pytest.importorskip("distributed", reason="needs dask[distributed] (session models)")

from tpnumba.interop.dask import evaluate  # noqa: E402

ROOT = Path(__file__).parents[2]


def structures(n: int = 24) -> list[Atoms]:
    """Crystals and molecules that differ."""
    made = []
    for seed in range(n):
        atoms = ase.build.bulk("Cu", cubic=True) if seed % 3 else Atoms("CO", positions=[[0, 0, 0], [0, 0, 2.2]])
        atoms.rattle(0.1, seed=seed)
        made.append(atoms)
    return made


def of_one_machine(listed: list[Atoms]) -> list[Results]:
    model = toy_potential.LennardJones()
    return [model.evaluate(atoms) for atoms in listed]


def assert_same(found: list[Results], expected: list[Results]) -> None:
    """Every bit."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.energy == theirs.energy
        assert mine.energies.tobytes() == theirs.energies.tobytes()
        assert mine.forces.tobytes() == theirs.forces.tobytes()
        assert (mine.stress is None) is (theirs.stress is None)
        if mine.stress is not None:
            assert mine.stress.tobytes() == theirs.stress.tobytes()


class Cluster:
    """A scheduler and workers, each a process that can be killed."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.file = folder / f"scheduler-{time.monotonic_ns()}.json"
        self.scheduler = self._start("scheduler", "--port", "0", "--host", "127.0.0.1", "--dashboard-address", ":0")
        while not self.file.exists():
            assert self.scheduler.poll() is None
            time.sleep(0.05)
        options = "--no-nanny", "--nthreads", "1", "--no-dashboard"
        self.workers = [self._start("worker", *options) for _ in range(workers)]

    def _start(self, kind: str, *options: str) -> subprocess.Popen:
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", str(self.file), *options]
        return subprocess.Popen(
            command, cwd=self.file.parent, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL
        )

    @contextmanager
    def client(self) -> Iterator:
        client = distributed.Client(scheduler_file=str(self.file), set_as_default=False)
        try:
            client.wait_for_workers(len(self.workers), timeout=60)
            yield client
        finally:
            client.close(timeout=2)

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Cluster]]:
    started: list[Cluster] = []

    def begin(workers: int = 2) -> Cluster:
        started.append(Cluster(tmp_path, workers))
        return started[-1]

    yield begin
    for cluster in started:
        cluster.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "toy"
    path.write_text("5.0 0.05")
    return path


def options(**more) -> dict:
    return {"batch": 3, "dtype": "float64", "load": toy_potential.load, **more}


def test_two_workers_one_of_which_is_killed(start, model: Path, tmp_path: Path) -> None:
    cluster, listed = start(2), structures()
    seen: list[tuple[int, int]] = []

    def kill_one(_: str, done: int, total: int) -> None:
        seen.append((done, total))
        if done == 3:
            os.kill(cluster.workers[0].pid, signal.SIGKILL)

    with cluster.client() as client:
        found = evaluate(model, listed, client, tmp_path / "results", **options(on_progress=kill_one))
    assert cluster.workers[0].wait(10) == -signal.SIGKILL
    assert cluster.workers[1].poll() is None
    assert seen == [(i, 8) for i in range(9)]
    assert_same(found, of_one_machine(listed))
    assert len(list((tmp_path / "results").glob("*.npz"))) == 8


def test_a_new_scheduler_goes_on_from_what_is_on_disk(start, model: Path, tmp_path: Path) -> None:
    listed, results = structures(), tmp_path / "results"
    first = start(2)

    def kill(_: str, done: int, total: int) -> None:
        if done == 3:
            first.scheduler.kill()

    with first.client() as client, pytest.raises(RuntimeError, match="call again with a new client"):
        evaluate(model, listed, client, results, **options(on_progress=kill))
    first.close()
    kept = {path: path.stat().st_mtime_ns for path in results.glob("*.npz")}
    assert 3 <= len(kept) < 8
    second, told = start(1), []
    with second.client() as client:
        found = evaluate(
            model, listed, client, results, **options(on_progress=lambda _, done, total: told.append((done, total)))
        )
    assert told == [(i, 8) for i in range(len(kept), 9)]
    assert_same(found, of_one_machine(listed))
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.fixture(scope="module")
def client() -> Iterator:
    """Threads of this process as workers, where nobody is killed."""
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    path = tmp_path / "toy"
    path.write_text("5.0")
    return path


def test_other_batches_and_threads_change_no_bit(client, quick: Path, tmp_path: Path) -> None:
    listed = structures(7)
    for batch in (1, 4, 100):
        found = evaluate(quick, iter(listed), client, tmp_path / str(batch), **options(batch=batch, num_threads=1))
        assert_same(found, of_one_machine(listed))
        assert len(list((tmp_path / str(batch)).iterdir())) == -(-7 // batch)


def test_equal_batches_are_evaluated_once_and_none_at_all_is_well(client, quick: Path, tmp_path: Path) -> None:
    one = structures(1)
    assert_same(evaluate(quick, one * 5, client, tmp_path / "results", **options(batch=1)), of_one_machine(one * 5))
    assert len(list((tmp_path / "results").iterdir())) == 1
    assert evaluate(quick, [], client, tmp_path / "results", **options()) == []


def test_what_is_on_disk_is_of_this_potential_these_structures_and_this_dtype(
    client, quick: Path, tmp_path: Path
) -> None:
    one, folder = structures(1), tmp_path / "results"

    def files(listed: list[Atoms], **more) -> int:
        evaluate(quick, listed, client, folder, **options(**more))
        return len(list(folder.iterdir()))

    assert [files(one), files(one)] == [1, 1]
    assert files(one, dtype="float32") == 2
    for count, change in enumerate(
        (
            lambda a: a.positions.__setitem__((0, 0), np.nextafter(a.positions[0, 0], 1)),
            lambda a: a.numbers.__setitem__(0, 8),
            lambda a: a.set_cell([9, 9, 9]),
            lambda a: a.set_pbc([True, False, False]),
        ),
        3,
    ):
        change(one[0])
        assert files(one) == count
    quick.write_text("4.0")
    assert files(one) == 7
    assert evaluate(quick, one, client, folder, **options())[0].energy == (
        toy_potential.LennardJones(4.0).evaluate(one[0]).energy
    )


def test_a_structure_that_cannot_be_evaluated_is_named(client, quick: Path, tmp_path: Path) -> None:
    listed = structures(7)
    listed[5].numbers[1] = 95
    with pytest.raises(ValueError, match=r"structure 5: the potential does not know the element of atom 1 \(Am\)"):
        evaluate(quick, listed, client, tmp_path / "results", **options())
    listed[5] = Atoms()
    with pytest.raises(ValueError, match="structure 5: the structure holds no atoms"):
        evaluate(quick, listed, client, tmp_path / "results", **options())
    with pytest.raises(TypeError, match="structure 1: atoms must have positions"):
        evaluate(quick, [listed[0], "CO"], client, tmp_path / "results", **options())
    listed[5] = structures(6)[5]
    assert_same(evaluate(quick, listed, client, tmp_path / "results", **options()), of_one_machine(listed))


def test_one_client_calls_again_and_again(client, quick: Path, tmp_path: Path) -> None:
    """What a call gives back when it ends takes nothing from the next, which asks for the same."""
    listed, folder = structures(2), tmp_path / "results"
    for _ in range(40):
        assert_same(evaluate(quick, listed, client, folder, **options(batch=1)), of_one_machine(listed))
        for path in folder.iterdir():
            path.unlink()


def test_damaged_results_are_refused(client, quick: Path, tmp_path: Path) -> None:
    listed, folder = structures(3), tmp_path / "results"
    evaluate(quick, listed, client, folder, **options())
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    for content in (whole[:-100], b"", b"something else"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{path.name} is damaged; remove it"):
            evaluate(quick, listed, client, folder, **options())
    np.savez(path, **{name: np.zeros(1) for name in ("energy", "energies", "forces", "stress", "stressed")})
    with pytest.raises(ValueError, match="holds results of other structures; remove it"):
        evaluate(quick, listed, client, folder, **options())
    path.unlink()
    assert_same(evaluate(quick, listed, client, folder, **options()), of_one_machine(listed))


def change_then_load(path: str, *, dtype: str) -> toy_potential.LennardJones:
    raise AssertionError("a worker must look at the potential before it reads it")


def test_a_worker_that_sees_another_potential_says_so(client, quick: Path, tmp_path: Path, monkeypatch) -> None:
    from tpnumba.interop import dask

    seen = iter(["of the client", "of the worker"])
    monkeypatch.setattr(dask, "_digest_of", lambda _: next(seen))
    with pytest.raises(RuntimeError, match=r"another potential .* \(of the worker, of the client\)"):
        evaluate(quick, structures(1), client, tmp_path / "results", **options(load=change_then_load))


@pytest.mark.parametrize("batch", [0, -1, 1.5, True])
def test_a_batch_is_a_number_of_structures(batch, quick: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch must be an integer of at least 1"):
        evaluate(quick, structures(1), None, tmp_path / "results", batch=batch)
    assert not (tmp_path / "results").exists()


def test_without_distributed_it_says_what_to_install(quick: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r'pip install "tpnumba\[dask\]"'):
        evaluate(quick, structures(1), None, tmp_path / "results")
