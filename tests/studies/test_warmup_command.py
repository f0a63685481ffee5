"""The command ``tpnumba warmup``: code for products by their name, and how it refuses."""

from __future__ import annotations

import pytest
from studies.refusals import assert_refused

import tpnumba as tp
from tpnumba.backends.cpu import warmup
from tpnumba.backends.cpu.lowering import program_of
from tpnumba.backends.cpu.specialised.tiers import tier_of
from tpnumba.cli import main
from tpnumba.nn import warmup as of_layers


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """All kernels are compiled in a test of the cache."""
    monkeypatch.setattr(warmup, "compile_all", lambda _: iter(()))
    monkeypatch.setattr(of_layers, "compile_layers", lambda: iter(()))


def test_code_is_made_for_products_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    plans = ["--plan", "GauntTensorProduct", "1", "2", "--plan", "FullTensorProduct", "0e+1o", "1o"]
    assert main(["warmup", *plans, "--dtype", "float64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "GauntTensorProduct 1 2, float64: code for 3 plans of it"
    assert lines[1] == "FullTensorProduct 0e+1o 1o, float64: code for 3 plans of it"
    for product in (tp.GauntTensorProduct(1, 2), tp.FullTensorProduct("0e+1o", "1o")):
        assert tier_of(program_of(product.methods.choose("cpu", "float64")[1], "float64")).is_specialised


def test_without_products_only_kernels_are_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["warmup"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("kept in ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Gaunt", "1", "2"], "--plan: there is no product 'Gaunt'; products are BracketTensorProduct, "),
        (["Irreps", "1o"], "--plan: there is no product 'Irreps'"),
        (["GauntTensorProduct", "1"], "--plan GauntTensorProduct 1: "),
        (["FullTensorProduct", "1o", "one"], "--plan FullTensorProduct 1o one: "),
    ],
)
def test_refusals(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(["warmup", "--plan", *words], said, capsys)
