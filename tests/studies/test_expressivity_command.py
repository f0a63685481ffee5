"""The command ``tpnumba expressivity``: its tables, its files, the laws of growth, and how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from studies.refusals import assert_refused

import tpnumba as tp
from tpnumba.cli import main
from tpnumba.measures.selection import PRODUCTS, candidates, select
from tpnumba.studies.expressivity_growth import LARGEST, LAWS, fit_exponent, grow
from tpnumba.studies.registry import CONFIGURATIONS
from tpnumba.studies.registry import PRODUCTS as REGISTERED

NATURAL = "0e + 1o + 2e"


@pytest.fixture(autouse=True)
def few_degrees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting to L = 4 is enough to see the command at work."""
    from tpnumba.studies import expressivity_growth

    monkeypatch.setattr(expressivity_growth.grow, "__defaults__", ((1, 2, 3, 4),))


def test_tables_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["expressivity", "0e + 2e + 3e + 6e", "3e + 5e + 6e", "--degree", "6"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for product in PRODUCTS:
        assert any(line.startswith(f"{product} ") for line in lines)
    triples = candidates(tp.Irreps("0e + 2e + 3e + 6e"), tp.Irreps("3e + 5e + 6e"))
    head = next(line.split() for line in lines if line.startswith("triple"))
    rows = [line.split(", ")[:2] + line.split(", ")[2].split() for line in lines if line.count(", ") == 2]
    rows = [row for row in rows if len(row) == len(head) + 2]
    found = {tuple(row[:3]): row[3:] for row in rows}
    assert len(found) == len(triples)
    for column, selection in enumerate(select(triples, degree=6)):
        for triple in triples:
            reason = selection.left_out.get(triple)
            assert found[tuple(map(str, triple))][column] == ("yes" if reason is None else reason.kind)
    assert "matrix: 6j{3 5 6; 6 6 6} = 0" in lines
    assert any(line.startswith("6j: ") for line in lines)
    for configuration in CONFIGURATIONS:
        assert f"{configuration.name}: {configuration.description}" in lines


def test_json_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, picture = tmp_path / "out.json", tmp_path / "out.png"
    assert main(["expressivity", NATURAL, NATURAL, "0e + 1e + 2e", "--json", str(data), "--plot", str(picture)]) == 0
    assert capsys.readouterr().err == ""
    document = json.loads(data.read_text())
    assert document["machine"]["cores"] >= 1
    triples = candidates(tp.Irreps(NATURAL), tp.Irreps(NATURAL), tp.Irreps("0e + 1e + 2e"))
    assert document["triples"] == [[str(ir) for ir in triple] for triple in triples]
    assert [entry["product"] for entry in document["products"]] == list(PRODUCTS)
    for entry in document["products"]:
        left_out = [one["triple"] for one in entry["leaves_out"]]
        assert entry["interactable"] == len(entry["couples"])
        assert sorted(entry["couples"] + left_out) == sorted(document["triples"])
        assert {one["reason"] for one in entry["leaves_out"]} <= set(document["reasons"])
    assert len(document["growth"]) == len(LAWS)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert main(["expressivity", "1o", "1e", "0o", "--plot", str(tmp_path / "out.svg")]) == 0
    assert (tmp_path / "out.svg").read_text().startswith("<?xml")


def test_copies_and_order_of_the_irreps_do_not_matter(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for irreps in (NATURAL, "4x2e + 8x0e + 16x1o"):
        assert main(["expressivity", irreps, NATURAL]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_no_product_of_the_registry_is_left_out() -> None:
    assert {product.name for product in REGISTERED} <= set(PRODUCTS)
    assert set(LAWS) == {
        (configuration.name, product.name) for configuration in CONFIGURATIONS for product in REGISTERED
    }


def test_counts_grow_by_the_laws() -> None:
    for growth in grow(LARGEST):
        law = LAWS[growth.setting, growth.product]
        assert (growth.law, growth.theory) == (law.text, law.exponent)
        for L, count in zip(growth.lmax, growth.expressivity, strict=True):
            if law.least <= L:
                assert count == law.value(L)
        assert growth.theory == {"SISO": 0, "SIMO": 1}.get(growth.setting, 3 if growth.product[0] == "C" else 1)
        assert all(free <= coupled for free, coupled in zip(growth.expressivity, growth.interactable, strict=True))


@pytest.mark.parametrize("key", sorted(LAWS))
def test_the_fit_tends_to_the_power_of_the_law(key: tuple[str, str]) -> None:
    law, large = LAWS[key], [1000 * n for n in (1, 2, 4, 8, 16, 32)]
    assert fit_exponent(large, [law.value(L) or law.value(L + 1) for L in large]) == pytest.approx(
        law.exponent, abs=0.01
    )


def test_one_point_has_no_slope() -> None:
    with pytest.raises(ValueError, match="counts must not be zero for two values of largest or more, got \\[0, 3\\]"):
        fit_exponent([1, 2], [0, 3])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1x", "1o"], "IRREPS1: "),
        (["1o", "2z"], "IRREPS2: "),
        (["1o", "1o", "nothing"], "IRREPS_OUT: "),
        (["", "1o"], "IRREPS1 must have an irrep, got ''"),
        (["1o", "0x1e"], "IRREPS2 must have an irrep, got '0x1e'"),
        (["1o", "1o", "5e"], "no product of 1x1o and 1x1o can reach 1x5e"),
        (["1o"], "IRREPS2"),
        (["1o", "1o", "--degree", "-1"], "--degree"),
        (["1o", "1o", "--json", "no/such/folder/out.json"], "no/such/folder/out.json cannot be written"),
        (["1o", "1o", "--plot", "no/such/folder/out.png"], "no/such/folder/out.png cannot be written"),
        (["1o", "1o", "--plot", "out.xyz"], "must end in one of"),
        (["1o", "1o", "--plot", "same.svg", "--json", "same.svg"], "are both same.svg"),
    ],
    ids=" ".join,
)
def test_bad_arguments_are_refused_before_anything_is_counted(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tpnumba.measures import selection

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was counted")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(selection, "select", forbidden)
    assert_refused(["expressivity", *arguments], message, capsys)
    assert not list(tmp_path.iterdir())


def test_the_command_of_the_console() -> None:
    command = [sys.executable, "-m", "tpnumba", "expressivity", "1o", "1o", "--json", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.index("triple") < done.stdout.index('"products"')
