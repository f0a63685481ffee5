"""The command ``tpnumba tetris``: what it prints and writes, how it refuses, and what an interrupt leaves."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from studies.refusals import assert_refused
from studies.terminals import read_terminal

from tpnumba.cli import main
from tpnumba.commands import tetris
from tpnumba.studies.tetris import training
from tpnumba.studies.tetris.pieces import PIECES
from tpnumba.studies.tetris.report import summarize
from tpnumba.studies.tetris.training import PRODUCTS, Run

QUICK = ["tetris", "--hidden-lmax", "1", "--seeds", "2", "--steps", "3", "--rotations", "2"]
RUN_KEYS = ["product", "seed", "correct", "of", "seconds_per_step"]


def test_the_products_of_the_command_are_those_of_the_experiment() -> None:
    assert tuple(PRODUCTS) == tetris._PRODUCTS


def test_table_json_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, picture = tmp_path / "out.json", tmp_path / "out.svg"
    assert main([*QUICK, "--json", str(data), "--plot", str(picture)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    names = [name for name, _ in PRODUCTS.values()]
    for name in names:
        assert f"\n{name} " in printed.out
    document = json.loads(data.read_text())
    assert document["machine"]["cores"] >= 1
    assert document["complete"] is True
    settings = {"seeds": 2, "steps": 3, "lmax": 1, "rotations": 2}
    assert {name: document["settings"][name] for name in settings} == settings
    assert [(run["seed"], run["product"]) for run in document["runs"]] == [(s, name) for s in (0, 1) for name in names]
    for run in document["runs"]:
        assert set(RUN_KEYS) <= set(run)
        assert run["of"] == 8
        assert run["correct"] == 8 - len(run["wrong"])
        assert set(run["wrong"]) <= set(PIECES)
        assert run["seconds_per_step"] > 0
        assert run["steps"] == len(run["losses"]) == 3
        assert run["expressivity"] > 0
    assert picture.read_text().startswith("<?xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "out.svg"]


def test_products_are_chosen_once_each(tmp_path: Path) -> None:
    path, chosen = tmp_path / "out.json", [f"--product={name}" for name in ("matrix", "gaunt", "matrix")]
    assert main([*QUICK, *chosen, "--json", str(path), "--plot", str(tmp_path / "out.png")]) == 0
    assert [run["product"] for run in json.loads(path.read_text())["runs"]] == ["matrix", "Gaunt"] * 2
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_seed_gives_the_same_losses_whatever_else_is_run(tmp_path: Path) -> None:
    found = []
    for chosen in ([], ["--product", "gaunt-bracket"]):
        path = tmp_path / f"{len(chosen)}.json"
        assert main([*QUICK, *chosen, "--json", str(path)]) == 0
        runs = json.loads(path.read_text())["runs"]
        found.append([run["losses"] for run in runs if run["product"] == "Gaunt + bracket"])
    assert found[0] == found[1]


@pytest.mark.parametrize("after", [0, 3])
def test_an_interrupt_keeps_the_runs_that_have_ended(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[object] = []
    train = training.train

    def interrupted(*arguments, **options):
        begun.append(None)
        if len(begun) > after:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    monkeypatch.setattr(training, "train", interrupted)
    path = tmp_path / "out.json"
    assert main([*QUICK, "--json", str(path)]) == 130
    printed = capsys.readouterr()
    assert printed.err == "tpnumba: interrupted\n"
    assert path.exists() == (after > 0)
    if after:
        document = json.loads(path.read_text())
        assert document["complete"] is False
        assert len(document["runs"]) == 3
        assert "matrix" in printed.out


def test_runs_of_a_product_are_summed_up() -> None:
    def run(product: str, seed: int, wrong: tuple[str, ...], milliseconds: float) -> Run:
        return Run(product, seed, 8 - len(wrong), 8, wrong, milliseconds / 1e3, 10 * seed, 5, 7, seed / 100, (1.0,))

    runs = [run("a", 0, ("T",), 1.0), run("b", 0, (), 9.0), run("a", 1, ("L", "T"), 2.0), run("a", 2, (), 4.0)]
    first, second = summarize(runs)
    assert first.product == "a"
    assert first.correct == [7, 6, 8]
    assert (first.steps, first.seconds_per_step, first.deviation) == (10, 2e-3, 0.02)
    assert first.wrong == {"L": 1, "T": 2}
    assert (second.product, second.correct, second.wrong) == ("b", [8], {})


def test_a_narrow_terminal_gets_lines_of_80_columns_and_progress() -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = [sys.executable, "-m", "tpnumba", *QUICK]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=slave, env={**environment, "TERM": "xterm"}, text=True
    ) as run:
        shown = read_terminal(master, slave)
        lines = run.stdout.read().splitlines()
    os.close(master)
    assert run.returncode == 0
    assert b"seed 1" in shown
    assert b"0:0" in shown  # the time left
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("vector spherical (cross)") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--product", "quantum"], "invalid choice: 'quantum'"),
        (["--seeds", "0"], "--seeds"),
        (["--steps", "none"], "'none'"),
        (["--hidden-lmax", "5"], "--hidden-lmax"),
        (["--hidden-lmax", "0"], "--hidden-lmax"),
        (["--rotations", "0"], "--rotations"),
        (["--json", "no/such/folder/out.json"], "no/such/folder/out.json cannot be written"),
        (["--json", "."], "is a directory"),
        (["--plot", "no/such/folder/out.png"], "no/such/folder/out.png cannot be written"),
        (["--plot", "out.xyz"], "must end in one of"),
        (["--plot", "same.svg", "--json", "same.svg"], "are both same.svg"),
    ],
    ids=" ".join,
)
def test_bad_arguments_are_refused_before_anything_is_trained(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "train", forbidden)
    assert_refused(["tetris", *arguments], message, capsys)
    assert not list(tmp_path.iterdir())
