"""The command ``tpnumba benchmark``: what it prints and writes, how it is interrupted and goes on, what it refuses."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from studies.refusals import assert_refused
from studies.terminals import read_terminal

from tpnumba.cli import main
from tpnumba.studies import roofline
from tpnumba.studies.benchmark import measure, report
from tpnumba.studies.benchmark.document import VERSION, read_run
from tpnumba.studies.benchmark.report import COLUMNS
from tpnumba.studies.compare import Row
from tpnumba.studies.registry import CONTENDERS
from tpnumba.studies.timing import interleaved

SMALL = ["benchmark", "--degrees", "1", "2", "--batch", "20", "--products", "clebsch-gordan", "gaunt", "--repeats", "1"]
#: Of the products of SMALL, those of the registry and the dense form.
METHODS = 1 + sum(entry.product in ("Clebsch-Gordan", "Gaunt") for entry in CONTENDERS)
TINY = ["benchmark", "--degrees", "1", "--batch", "4", "--products", "bracket", "--settings", "MIMO", "--repeats", "1"]


@pytest.fixture(autouse=True)
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a repeat: these tests read what is printed, not how long it took."""
    monkeypatch.setattr(measure, "interleaved", lambda calls, **_: interleaved(calls, repeats=2, repeat_seconds=0.0))
    whole = roofline.measure_roofline
    monkeypatch.setattr(roofline, "measure_roofline", lambda threads, **_: whole(threads, repeats=1, scale=0.001))


def run(*arguments: str) -> int:
    return main([*SMALL, *arguments])


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--json", str(tmp_path / "out.json")) == 0
    document = read(tmp_path / "out.json")
    assert (document["kind"], document["version"], document["complete"]) == ("tpnumba benchmark", VERSION, True)
    assert document["options"]["degrees"] == [1, 2]
    assert document["roofline"]["bytes_per_second"] > 0
    rows = document["rows"]
    assert len(rows) == 6 * METHODS  # settings times degrees
    shared = list(Row.__dataclass_fields__)
    assert all(list(row)[: len(shared)] == shared for row in rows)
    assert {entry["theory"] for entry in document["growth"]} == {2, 3, 4, 5, 6}
    printed = capsys.readouterr()
    for text in ("SISO:", "SIMO:", "MIMO:", "Clebsch-Gordan", "dense", "fourier", "theory", "roofline:"):
        assert text in printed.out
    header = next(line for line in printed.out.splitlines() if "product" in line)
    assert all(column.title in header for column in COLUMNS)  # no terminal: nothing is left out
    assert "0% done" in printed.err
    for row in rows:
        if row["interactable"]:
            assert f"{1e9 * row['seconds_per_sample']:,.0f}" in printed.out


def test_reference_adds_rows(tmp_path: Path) -> None:
    assert run("--reference", "--json", str(tmp_path / "out.json")) == 0
    methods = {(row["product"], row["method"]) for row in read(tmp_path / "out.json")["rows"]}
    paper = {("Clebsch-Gordan", "dense"), ("Clebsch-Gordan", "sparse"), ("Gaunt", "grid"), ("Gaunt", "fourier")}
    assert {(product, f"{method} (paper)") for product, method in paper} <= methods


def test_float64_and_the_reference_backend(tmp_path: Path) -> None:
    assert main([*TINY, "--dtype", "float64", "--backend", "generic", "--json", str(tmp_path / "out.json")]) == 0
    rows = read(tmp_path / "out.json")["rows"]
    assert {(row["dtype"], row["backend"]) for row in rows} == {("float64", "generic")}
    assert max(row["error"] for row in rows) < 1e-13


def test_figures(tmp_path: Path) -> None:
    png, svg = tmp_path / "out.png", tmp_path / "out.svg"
    assert run("--reference", "--plot", str(png), "--plot", str(svg)) == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in svg.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.png", "out.svg"]


def interrupt_after(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure._measure
    done = []

    def measured(*arguments: Any) -> Any:
        if len(done) == groups:
            raise KeyboardInterrupt
        done.append(arguments)
        return whole(*arguments)

    monkeypatch.setattr(measure, "_measure", measured)


def test_an_interrupted_run_is_kept_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    with monkeypatch.context() as patch:
        interrupt_after(4, patch)
        assert run("--json", str(path), "--plot", str(tmp_path / "out.png")) == 130
    printed = capsys.readouterr()
    assert printed.err.endswith(
        f"{4 * METHODS} of {6 * METHODS} rows were measured; kept in {path}, --resume {path} goes on\n"
        "tpnumba: interrupted\n"
    )
    assert "SIMO:" in printed.out
    assert "MIMO:" not in printed.out
    assert (tmp_path / "out.png").exists()
    before = read(path)
    assert (before["complete"], len(before["rows"])) == (False, 4 * METHODS)

    assert run("--resume", str(path)) == 0
    after = read(path)
    assert (after["complete"], len(after["rows"])) == (True, 6 * METHODS)
    assert after["rows"][: 4 * METHODS] == before["rows"]
    assert after["roofline"] == before["roofline"]

    monkeypatch.setattr(measure, "_measure", lambda *_: pytest.fail("there is nothing left to measure"))
    assert run("--resume", str(path), "--json", str(tmp_path / "other.json")) == 0
    assert read(tmp_path / "other.json") == after


def test_nothing_measured_is_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_after(0, monkeypatch)
    assert run("--json", str(tmp_path / "out.json")) == 130
    assert f"0 of {6 * METHODS} rows were measured" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_interrupt_by_a_signal(tmp_path: Path) -> None:
    """A process that is told to stop by Ctrl-C, as soon as its file is there."""
    path = tmp_path / "out.json"
    # Where the tests run in the background of a shell, Ctrl-C is ignored, also in what they start.
    heeds = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from tpnumba.cli import main; sys.exit(main())"
    )
    command = [
        sys.executable,
        "-c",
        heeds,
        "benchmark",
        "--quick",
        "--batch",
        "50",
        "--repeats",
        "1",
        "--json",
        str(path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(1800):
            if path.exists() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.endswith("tpnumba: interrupted\n")
    assert "SISO:" in out
    document = read(path)
    assert document["rows"]
    assert not document["complete"]


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    path = tmp_path / "earlier.json"
    assert main([*TINY, "--json", str(path)]) == 0
    return path


def edited(path: Path, **changed: Any) -> str:
    other = path.with_name("edited.json")
    other.write_text(json.dumps({**read(path), **changed}))
    return str(other)


def test_two_runs_side_by_side(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = read(earlier)
    slower = [{**row, "seconds_per_sample": 3 * row["seconds_per_sample"]} for row in document["rows"]]
    other = edited(earlier, rows=slower, machine={**document["machine"], "tpnumba": "0.0.1"})
    capsys.readouterr()
    assert main([*TINY, "--resume", str(earlier), "--against", other]) == 0
    printed = capsys.readouterr().out
    assert "machine: tpnumba is '0.1.0', and '0.0.1' in" in printed
    ratios = [line.split()[-1] for line in printed.splitlines() if line.strip().startswith("MIMO") and "3.00" in line]
    assert ratios == ["3.00"] * 4  # two methods at one L, and their means


@pytest.mark.parametrize("option", ["--resume", "--against"])
def test_other_files_are_refused_with_the_reason(
    option: str, earlier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no_json, other_kind = tmp_path / "text.json", tmp_path / "compare.json"
    no_json.write_text("{")
    other_kind.write_text('{"machine": {}, "rows": []}')
    cases = {
        edited(earlier, version=VERSION + 1): f"has version {VERSION + 1} of such files, and this tpnumba reads",
        str(no_json): "is no JSON",
        str(other_kind): "is no file of 'tpnumba benchmark --json'",
        str(tmp_path / "missing.json"): "cannot be read: No such file",
        str(tmp_path): "cannot be read: Is a directory",
    }
    capsys.readouterr()
    for path, reason in cases.items():
        assert_refused([*TINY, option, path], reason, capsys)
    assert_refused([*TINY, option, edited(earlier, rows=[{"setting": "MIMO"}])], "is damaged: rows with other", capsys)
    first = read(earlier)["rows"][0]
    for changed, reason in (
        ({"setting": "MISO"}, "its options ask for no row"),
        ({"lmax": [1]}, "unhashable"),
        ({"seconds_per_sample": "soon"}, "seconds_per_sample of .* is 'soon'"),
        ({"seconds_per_sample": 0.0}, "seconds_per_sample of .* is 0"),
    ):
        with pytest.raises(ValueError, match=rf"{option} .* is damaged: .*{reason}"):
            read_run(option, edited(earlier, rows=[first | changed]))


def test_a_run_of_something_else_is_not_gone_on_with(earlier: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = read(earlier)
    capsys.readouterr()
    assert_refused(
        [*TINY, "--resume", str(earlier), "--dtype", "float64"],
        "with other options: dtype was 'float32' and is 'float64'",
        capsys,
    )
    machine = {**document["machine"], "processor": "abacus"}
    assert_refused(
        [*TINY, "--resume", edited(earlier, machine=machine)],
        "on another machine or with other packages: processor was 'abacus' and is",
        capsys,
    )
    assert_refused([*SMALL, "--against", str(earlier)], "has nothing in common with what is to be timed", capsys)
    assert read(earlier) == document


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--degrees", "0"], "--degrees"),
        (["--degrees"], "--degrees"),
        (["--batch", "none"], "'none'"),
        (["--products", "gaunt", "dot"], "invalid choice: 'dot'"),
        (["--settings", "mimo"], "invalid choice: 'mimo'"),
        (["--dtype", "float16"], "float16"),
        (["--backend", "quantum"], "quantum"),
        (["--backend", "gpu"], "backend 'gpu' needs"),
        (["--repeats", "0"], "--repeats"),
        (["--batch", "1000000000000"], "would take"),
        (["--json", "no/such/folder/out.json"], "--json no/such/folder/out.json cannot be written"),
        (["--plot", "no/such/folder/out.png"], "--plot no/such/folder/out.png cannot be written"),
        (["--plot", "out.xyz"], "must end in one of"),
        (["--plot", "same.svg", "--json", "same.svg"], "--json and --plot are both same.svg"),
        (["--json", "."], "is a directory"),
        (["--frobnicate"], "--frobnicate"),
    ],
    ids=" ".join,
)
def test_errors_come_before_anything_is_measured(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(measure, "_measure", lambda *_: pytest.fail("something was measured"))
    assert_refused(["benchmark", *arguments], message, capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("width", [40, 60, 80, 110, 300])
def test_a_narrow_terminal_gets_fewer_columns(width: int, earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    kind = {"force_terminal": True, "color_system": None, "highlight": False, "markup": False}
    monkeypatch.setattr(report, "_console", lambda: Console(file=shown, width=width, **kind))
    report.print_run(read_run("--resume", str(earlier)))
    lines = shown.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    header = next((line for line in lines if "product" in line), "")
    left_out = "Left out, as the terminal is narrow" in " ".join(lines)
    assert left_out is (width < 300)
    if width >= 80:
        for column in COLUMNS:
            assert column.title in header or (column.rank > 0 and left_out)


def test_a_real_terminal_is_asked_for_its_width() -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = [sys.executable, "-m", "tpnumba", *TINY, "--quick"]
    with subprocess.Popen(
        command, stdout=slave, stderr=subprocess.DEVNULL, env={**environment, "TERM": "dumb"}
    ) as process:
        shown = read_terminal(master, slave).decode()
    os.close(master)
    assert process.returncode == 0
    assert max(map(len, shown.splitlines())) == 80
    assert "Left out, as the terminal is narrow" in shown


def test_a_terminal_gets_a_bar_with_the_time_left() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tpnumba", *SMALL, "--quick"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave, env={**os.environ, "TERM": "xterm"}) as run:
        shown = read_terminal(master, slave)
    os.close(master)
    assert run.returncode == 0
    assert b"MIMO, L = 2" in shown
    assert b" left" in shown


def test_the_run_may_go_to_standard_output() -> None:
    command = [sys.executable, "-m", "tpnumba", *TINY, "--quick", "--json", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count('"kind": "tpnumba benchmark"') == 1
    assert done.stdout.index("Growth with L") < done.stdout.index('"kind"')
