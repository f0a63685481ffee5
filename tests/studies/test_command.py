"""The command ``tpnumba compare``: what it prints and writes, and how it refuses."""

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
from strategies import tolerance
from studies.refusals import assert_refused
from studies.terminals import read_terminal

from tpnumba.cli import main
from tpnumba.studies.compare import Row
from tpnumba.studies.registry import CONFIGURATIONS, CONTENDERS
from tpnumba.studies.report import summarize

QUICK = ["compare", "--lmax", "2", "--batch", "30"]
ROW_KEYS = [
    "setting",
    "product",
    "method",
    "lmax",
    "interactable",
    "triples",
    "expressivity",
    "flops",
    "bytes",
    "seconds_per_sample",
    "error",
    "equivariance_error",
]


@pytest.fixture(autouse=True)
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a repeat: these tests read what is printed, not how long it took."""
    from tpnumba.studies import compare, timing

    monkeypatch.setattr(
        compare, "interleaved", lambda functions, **_: timing.interleaved(functions, repeats=2, repeat_seconds=0.0)
    )


def run_in_process(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tpnumba", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    assert main([*QUICK, "--all", "--json", str(path)]) == 0
    printed = capsys.readouterr()
    products = {contender.product for contender in CONTENDERS}
    methods = {contender.method for contender in CONTENDERS}
    for text in ("SISO:", "SIMO:", "MIMO:", *products, *methods, "24 atoms", "0 of 1"):
        assert text in printed.out
    assert printed.err == ""
    document = json.loads(path.read_text())
    assert document["machine"]["cores"] >= 1
    rows = document["rows"]
    assert len(rows) == len(CONFIGURATIONS) * 2 * len(CONTENDERS)
    for row in rows:
        assert list(row)[: len(ROW_KEYS)] == ROW_KEYS
        timed = row["interactable"] > 0
        assert (row["seconds_per_sample"] is not None) is timed
        assert row["expressivity"] > 0 or not timed
        if timed:
            assert row["seconds_per_sample"] > 0
            bound = tolerance("float32", row["lmax"])
            assert row["error"] < bound
            assert row["equivariance_error"] < bound
    untimed = [(row["setting"], row["product"], row["lmax"]) for row in rows if row["interactable"] == 0]
    assert set(untimed) == {("SISO", "Gaunt", 1), ("SISO", "bracket", 2)}
    mimo: dict[str, dict[int, int]] = {}
    for row in rows:
        if row["setting"] == "MIMO":
            mimo.setdefault(row["product"], {})[row["lmax"]] = row["expressivity"]
    assert mimo == {
        "Clebsch-Gordan": {1: 6, 2: 19},
        "Gaunt": {1: 5, 2: 9},
        "bracket": {1: 1, 2: 5},
        "Gaunt + bracket": {1: 6, 2: 12},
        "matrix": {1: 5, 2: 9},
        "vector spherical (cross)": {1: 5, 2: 18},
        "vector spherical (dot)": {1: 6, 2: 15},
    }


def test_the_summary_is_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.json"
    assert main([*QUICK, "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "24 atoms, 382 neighbour pairs within 5 angstrom" in lines[0]
    assert len(lines) <= 20
    assert not any("equivariance error" in line for line in lines)
    document = json.loads(path.read_text())
    assert document["structure"] == {"name": "caffeine", "atoms": 24, "pairs": 382}
    start = next(i for i, line in enumerate(lines) if line.startswith("MIMO:"))
    assert lines[start].endswith("L = 2")
    said = {line[:31].strip(): line[31:].strip() for line in lines[start + 1 : start + 4]}
    rows = [row for row in document["rows"] if (row["setting"], row["lmax"]) == ("MIMO", 2)]
    for row in rows:
        named = f"{row['product']} (expressivity {row['expressivity']})" in said["couples everything"].split(", ")
        assert named is (row["interactable"] == row["triples"])
    quickest = min(rows, key=lambda row: row["seconds_per_sample"])
    assert f"ns: {quickest['product']}, {quickest['method']} (couples" in said["cheapest a sample"]
    densest = min(rows, key=lambda row: row["seconds_per_sample"] / row["expressivity"])
    if densest is quickest:
        assert "; also cheapest a degree of freedom" in said["cheapest a sample"]
    else:
        assert f"ns: {densest['product']}, {densest['method']} (couples" in said["cheapest a degree of freedom"]


def test_the_summary_takes_what_is_cheapest_with_what_it_buys() -> None:
    def row(product: str, interactable: int, expressivity: int, seconds: float | None) -> Row:
        error = None if seconds is None else 1e-7
        spread = None if seconds is None else seconds / 50
        sizes = (2, interactable, 6, expressivity, 0, 0)
        return Row("MIMO", product, "direct", *sizes, seconds, error, error, spread)

    rows = [row("slow", 6, 6, 60e-9), row("quick", 2, 1, 20e-9), row("none", 0, 0, None)]
    bought = "deviation 1e-07, spread 2%)"
    assert summarize(rows) == [
        ("couples everything", "slow (expressivity 6)"),
        ("cheapest a sample", f"20 ns: quick, direct (couples 2 of 6, expressivity 1, {bought}"),
        ("cheapest a degree of freedom", f"10.0 ns: slow, direct (couples 6 of 6, expressivity 6, {bought}"),
    ]
    assert summarize(rows[2:]) == [("couples everything", "none")]
    assert summarize(rows[1:])[1:] == [
        (
            "cheapest a sample",
            f"20 ns: quick, direct (couples 2 of 6, expressivity 1, {bought}; also cheapest a degree of freedom",
        )
    ]
    alike = [row("one", 6, 6, 1e-9), row("other", 6, 6, 2e-9)]
    assert summarize(alike)[0] == ("couples everything", "one, other (each of expressivity 6)")


def test_the_summary_stands_after_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*QUICK, "--all"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("equivariance error") < printed.index("couples everything")
    assert "--all" not in printed


def test_the_summary_fits_a_terminal() -> None:
    """Statements are folded under themselves, at blanks."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    command = [sys.executable, "-m", "tpnumba", *QUICK]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, env={**environment, "TERM": "dumb"}):
        shown = read_terminal(master, slave)
    os.close(master)
    lines = shown.decode().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("SISO:"))
    end = next(i for i, line in enumerate(lines) if line.startswith("A degree"))
    assert all(len(line) <= 80 for line in lines[start:end])
    folded = [line for line in lines[start:end] if line.startswith(" " * 32)]
    assert folded
    assert all(line[32] != " " for line in folded)


TWO_ATOMS = "2\n{}\nC 0 0 0\nO 0 0 1.1\n"


@pytest.mark.parametrize("through", ["-", "/dev/stdin", "pipe"])
def test_structures_come_through_pipes(through: str, tmp_path: Path) -> None:
    (tmp_path / "co.xyz").write_text(TWO_ATOMS.format('Lattice="0 0 0 0 0 0 0 0 0"'))
    command = f"{sys.executable} -m tpnumba compare --lmax 1 --batch 2 --json out.json"
    full = f"{command} <(cat co.xyz)" if through == "pipe" else f"cat co.xyz | {command} {through}"
    done = subprocess.run(["bash", "-c", full], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 atoms, 2 neighbour pairs" in done.stdout
    structure = json.loads((tmp_path / "out.json").read_text())["structure"]
    assert (structure["atoms"], structure["pairs"]) == (2, 2)
    assert structure["name"] == {"-": "standard input", "/dev/stdin": "/dev/stdin"}.get(through, structure["name"])


def test_the_frame_that_is_taken_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "frames.xyz"
    path.write_text(TWO_ATOMS.format("one") * 3 + "1\n\nH 0 0 0\n")
    assert main(["compare", str(path), "--lmax", "0", "--batch", "1"]) == 0
    assert "frames.xyz, the last of 4 frames: 1 atoms, 0 neighbour pairs" in capsys.readouterr().out
    path.write_text(TWO_ATOMS.format("one") * 1000 + "1\n\nH 0 0 0\n")
    assert main(["compare", str(path), "--lmax", "0", "--batch", "1"]) == 0
    assert "frames.xyz, the last of 1,000 or more frames: 1 atoms" in capsys.readouterr().out


def test_float64_deviates_by_float64_rounding(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert main([*QUICK, "--dtype", "float64", "--backend", "generic", "--json", str(path)]) == 0
    rows = [row for row in json.loads(path.read_text())["rows"] if row["error"] is not None]
    assert rows
    for row in rows:
        assert row["error"] < tolerance("float64", row["lmax"])


def test_degree_zero_and_batch_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--lmax", "0", "--batch", "1"]) == 0
    assert "1 of 1" in capsys.readouterr().out


def test_figure(tmp_path: Path) -> None:
    for name, magic in (("out.png", b"\x89PNG"), ("out.pdf", b"%PDF")):
        assert main([*QUICK, "--plot", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.pdf", "out.png"]


def test_a_pipe_gets_whole_lines_and_no_progress_bar() -> None:
    done = run_in_process(*QUICK, "--all", env={**os.environ, "COLUMNS": "40"})
    assert done.returncode == 0
    assert done.stderr == ""
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout
    header = next(line for line in done.stdout.splitlines() if "product" in line)
    for column in ("couples", "expressivity", "ns a degree of freedom", "equivariance error"):
        assert column in header


def test_a_terminal_gets_a_progress_bar() -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tpnumba", *QUICK]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=slave, env={**os.environ, "TERM": "xterm"}) as run:
        shown = read_terminal(master, slave)
    os.close(master)
    assert run.returncode == 0
    assert b"MIMO, L = 2" in shown
    assert b"%" in shown


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    command = f"{sys.executable} -m tpnumba compare --lmax 1 --batch 10 | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "caffeine" in done.stdout
    assert done.stderr == ""


def test_without_an_output_there_is_no_traceback() -> None:
    command = f"{sys.executable} -m tpnumba compare --lmax 1 --batch 10 >&-"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compare", "--lmax", "1", "--batch", "10"],
        ["advise", "0e", "0e", "0e", "--must-couple", "all"],
        ["benchmark", "--products", "gaunt", "--settings", "SISO", "--degrees", "1", "--batch", "9", "--quick"],
        ["dial", "--lmax", "2", "--batch", "10"],
    ],
)
def test_without_an_output_files_are_written(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)  # as Python has it where standard output is closed
    assert main([*arguments, "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text())["machine"]


@pytest.mark.parametrize(
    "arguments", [["compare"], ["dial"], ["benchmark"], ["expressivity", "0e", "0e"], ["tetris"]], ids=lambda a: a[0]
)
def test_a_link_to_the_other_file_is_that_file(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, link = tmp_path / "file.png", tmp_path / "link.png"
    link.symlink_to(file)
    assert_refused([*arguments, "--json", str(file), "--plot", str(link)], f"--json and --plot are both {link}", capsys)
    assert not file.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "--lmax", "-1"], "--lmax"),
        (["compare", "--lmax", "two"], "'two'"),
        (["compare", "--lmax", "1.5"], "'1.5'"),
        (["compare", "--batch", "0"], "--batch"),
        (["compare", "--dtype", "float16"], "float16"),
        (["compare", "--backend", "quantum"], "quantum"),
        (["compare", "--backend", "gpu"], "invalid choice: 'gpu'"),
        (["compare", "--format", "cif"], "--format is that of a STRUCTURE"),
        (["compare", "no_such_file.xyz"], "no_such_file.xyz does not exist"),
        (["compare", "--json", "no/such/folder/out.json"], "no/such/folder/out.json cannot be written"),
        (["compare", "--plot", "no/such/folder/out.png"], "no/such/folder/out.png cannot be written"),
        (["compare", "--json", "."], "is a directory"),
        (["compare", "--plot", "out.xyz"], "must end in one of"),
        (["compare", "--plot", "same.png", "--json", "same.png"], "are both same.png"),
        (["compare", "--batch", "1000000000000"], "samples up to L = 4 would take"),
        (["compare", "--lmax", "100000"], "would take"),
        (["compare", "--lmax", "99999999999999999999999"], "would take"),
        (["wonder"], "wonder"),
        ([], "COMMAND"),
        (["compare", "--frobnicate"], "--frobnicate"),
    ],
    ids=" ".join,
)
def test_errors_are_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(arguments, message, capsys)
    assert not list(tmp_path.iterdir())


def test_nothing_is_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tpnumba.outputs import write_whole

    path = tmp_path / "kept.json"
    path.write_text("before")

    def fail(stream) -> None:
        stream.write(b"half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_whole(str(path), fail)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def test_devices_are_written_and_stay_devices() -> None:
    done = run_in_process(*QUICK, "--json", "/dev/stdout")
    assert done.returncode == 0
    assert '"rows"' in done.stdout
    assert not Path(os.devnull).is_file()


def test_names_of_open_files_stay_what_they_are(tmp_path: Path) -> None:
    """Standard output in a file: both the tables and the rows go there, and nothing takes the place of the name."""
    before = os.readlink("/dev/stdout")
    with (tmp_path / "out.txt").open("w") as stream:
        command = [sys.executable, "-m", "tpnumba", *QUICK, "--json", "/dev/stdout"]
        subprocess.run(command, stdout=stream, check=True)
    text = (tmp_path / "out.txt").read_text()
    assert text.index("MIMO:") < text.index('"rows"')
    assert os.readlink("/dev/stdout") == before


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    assert main([*QUICK, "--json", str(tmp_path / "link.json")]) == 0
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "real.json").read_text())["rows"]


def test_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert main(QUICK) == 2
    assert 'python -m pip install "tpnumba[study]"' in capsys.readouterr().err


def test_interrupt_ends_quietly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from tpnumba.studies import compare

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "compare", interrupt)
    assert main(QUICK) == 130
    assert capsys.readouterr().err == "tpnumba: interrupted\n"


def test_version() -> None:
    import tpnumba

    assert run_in_process("--version").stdout == f"tpnumba {tpnumba.__version__}\n"
