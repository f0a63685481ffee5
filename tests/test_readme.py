"""Every snippet of the README and of the pages runs, in order, and says what it claims."""

from __future__ import annotations

import doctest
import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

import tpnumba as tp

ROOT = Path(__file__).parent.parent
SHAPED = ("z", "f", "grad_x", "g_weights")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_python_snippets(capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {}
    snippets = blocks("python")
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), namespace)
    shapes = {name: np.shape(namespace[name]) for name in SHAPED}
    assert shapes == {
        "z": (1000, 256),
        "f": (1000, 49),
        "grad_x": (1000, 16),
        "g_weights": (500, namespace["p"].weight_numel),
    }
    assert capsys.readouterr().out.startswith("44 13\n")


def test_every_language_is_covered() -> None:
    assert set(re.findall(r"```(\w+)\n", README)) == {"python", "console"}


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if "```{doctest}" in text])
def test_pages(page: str) -> None:
    """As `nox -s docs` does it, but for what needs libraries that are not there."""
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    namespace: dict[str, Any] = {"np": np, "tp": tp, "find_spec": find_spec}
    for block in re.findall(r"```\{doctest\}\n(.*?)```", PAGES[page], flags=re.DOTALL):
        condition = re.match(r":skipif: (.*)\n", block)
        if condition is None or not eval(condition[1], namespace):
            test = parser.get_doctest(block, namespace, page, page, 0)
            assert test.examples
            runner.run(test, clear_globs=False)
            namespace.update(test.globs)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{name}" for name in PAGES)])
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        made = target.startswith(("_figures/", "howto/"))  # when the pages are built
        if not made and not target.startswith("https://"):
            assert (path.parent / target).exists(), target


def test_ratios_are_those_of_the_results() -> None:
    document = json.loads((ROOT / "benchmarks" / "results" / "cpu-amd-epyc.json").read_text(encoding="utf-8"))
    best = {bar["work"]: min(bar["ratios"].values()) for bar in document["bars"] if bar["ratios"]}
    quicker = sum(ratio < 1 for ratio in best.values())
    said = re.search(r"Over (\d+) works .*? takes ([\d.]+) times .*? quicker in (\d+) of them", README, re.DOTALL)
    assert said is not None
    assert said.groups() == (str(len(best)), f"{median(best.values()):.1f}", str(quicker))


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [tp.__version__]


def tpnumba_commands() -> list[str]:
    shown = " && ".join(line for block in blocks("console") for line in block.strip().splitlines())
    inline = re.findall(r"`(tpnumba compare [^`]*)`", README)
    return [part.strip() for part in shown.split("&&") if part.strip().startswith("tpnumba compare")] + inline


@pytest.mark.parametrize("command", tpnumba_commands())
def test_commands(command: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "tpnumba" / "data" / "caffeine.xyz", tmp_path / "FILE.xyz")
    # With few samples: what is tried here is that the options work, and the gate runs the first command as it stands.
    arguments = [sys.executable, "-m", *command.split(), "--batch", "10"]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Clebsch-Gordan" in done.stdout
    for name in re.findall(r"out\.\w+", command):
        assert (tmp_path / name).stat().st_size > 1000


def test_install_and_test_commands_are_those_of_the_gate() -> None:
    """pip and nox cannot run inside the test session; the gate runs them as written here."""
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8").replace(" --quiet", "").splitlines()
    for block in blocks("console"):
        if "tpnumba convert" in block:  # run by tests/models/test_without_torch.py, in the session models
            continue
        for line in block.strip().splitlines():
            assert line in gate


def test_session_commands_exist() -> None:
    sessions = set(re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"python -m nox -s (\w+)", README))
    assert named
    assert named <= sessions
