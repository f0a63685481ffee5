"""The command ``tpnumba dial``: what it prints and writes, how it refuses, and the tables that it fits to."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from strategies import tolerance
from studies.refusals import assert_refused

import tpnumba as tp
from tpnumba.cli import main
from tpnumba.studies import dial, timing
from tpnumba.studies.dial import TABLES, Row, complete_product, learned_table, random_table
from tpnumba.studies.dial_report import figure, verdict


@pytest.fixture(autouse=True)
def quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """One call a repeat: these tests read what is printed, not how long it took."""
    monkeypatch.setattr(
        dial, "interleaved", lambda functions, **_: timing.interleaved(functions, repeats=2, repeat_seconds=0.0)
    )


@pytest.mark.parametrize("lmax", [2, 3])
def test_the_complete_product_gives_what_the_low_rank_product_gives(lmax: int) -> None:
    p = tp.LowRankTensorProduct(lmax, lmax, rank=2, bracket_rank=1)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 5, p.irreps_in1.dim))
    weights = rng.standard_normal(p.weight_numel)
    full, triples = complete_product(lmax)
    table = p.path_weights(weights)
    assert set(triples) == set(table)
    assert full.irreps_out == p.irreps_out
    found = full(x, y, np.array([table[triple] for triple in triples]))
    limit = float(np.max(np.abs(found))) * tolerance("float64", 2 * lmax, 100)
    np.testing.assert_allclose(p(x, y, weights), found, rtol=0, atol=limit)


@pytest.mark.parametrize("make", TABLES.values(), ids=TABLES)
def test_tables_have_every_path_and_stay_the_same(make) -> None:
    table = make(2)
    assert set(table) == set(complete_product(2)[1])
    assert all(math.isfinite(number) for number in table.values())
    assert make(2) == table


def test_learned_weights_have_the_signs_of_the_products_that_saturate() -> None:
    for triple, number in learned_table(2).items():
        coupling = tp.GauntTensorProduct if sum(triple) % 2 == 0 else tp.BracketTensorProduct
        product = coupling(*(tp.Irreps([(1, (degree, (-1) ** degree))]) for degree in triple[:2]), triple[2])
        (scale,) = (path.scale for path in product.paths if path.ir_out.l == triple[2])
        assert number * scale > 0
    assert not all(number > 0 for number in random_table(2).values())


def test_table_json_and_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = tmp_path / "rows.json", tmp_path / "figure.svg"
    arguments = ["dial", "--lmax", "2", "--batch", "20", "--json", str(files[0]), "--plot", str(files[1])]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "14 of 19" in printed.out
    assert "L = 2: " in printed.out
    document = json.loads(files[0].read_text())
    assert document["settings"] == {"lmax": 2, "batch": 20, "dtype": "float32", "backend": "auto"}
    assert document["machine"]["cores"] >= 1
    rows = document["rows"]
    assert [(row["rank"], row["bracket_rank"], row["expressivity"]) for row in rows] == [
        (1, 0, 9),
        (1, 1, 14),
        (2, 2, 19),
    ]
    for row in rows:
        assert row["complete_expressivity"] == 19
        assert set(row["errors"]) == set(row["deviations"]) == set(TABLES)
        for name in TABLES:  # of results as of maps, whose components random features weigh differently
            assert row["deviations"][name] < 3 * row["errors"][name] + tolerance("float32", 4)
        assert min(row["seconds_per_sample"], row["complete_seconds_per_sample"]) > 0
    # The table is reached at the last rank, the results to rounding in the dtype of the run.
    assert max(rows[-1]["errors"].values()) < 1e-9
    assert max(rows[-1]["deviations"].values()) < tolerance("float32", 4)
    assert rows[0]["errors"]["random"] > rows[1]["errors"]["random"] > 1e-3
    assert files[1].read_text().startswith("<?xml")


ROW = Row(
    lmax=4,
    rank=1,
    bracket_rank=1,
    expressivity=30,
    complete_expressivity=85,
    errors={"random": 0.7, "learned": 0.02},
    deviations={"random": 0.7, "learned": 0.02},
    seconds_per_sample=1e-6,
    seconds_spread=1e-8,
    complete_seconds_per_sample=2e-6,
    complete_seconds_spread=1e-8,
    flops=10,
    complete_flops=20,
)


def test_the_verdict_says_where_it_pays() -> None:
    more = replace(ROW, rank=2, bracket_rank=2, errors={"random": 0.3, "learned": 0.005}, seconds_per_sample=3e-6)
    said = verdict([ROW, more])
    begin = "quicker than the complete product up to ranks 1+1 of 2+2, with the errors 0.7 (random) and 0.02 (learned)"
    assert said.startswith(begin)
    assert "learned to 0.1 by ranks 1+1, at 0.5 of its time" in said
    assert "learned to 0.01 by ranks 2+2, at 1.5 of its time" in said
    assert "random to" not in said
    assert verdict([more]) == "the complete product is quicker than any rank"


def test_the_figure_has_a_line_for_each_of_a_few_degrees() -> None:
    rows = [replace(ROW, lmax=lmax, rank=rank, bracket_rank=rank) for lmax in range(2, 11) for rank in (1, 2)]
    drawing = figure(rows, "title")
    for axis in drawing.axes:
        assert [line.get_label() for line in axis.lines if line.get_label().startswith("L =")] == [
            f"L = {lmax}, ranks 1+1 to 2+2" for lmax in (2, 4, 6, 8, 10)
        ]
        styles = {(line.get_marker(), str(line.get_color())) for line in axis.lines[:5]}
        assert len(styles) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lmax", "1"], "--lmax: must be an integer of at least 2, got '1'"),
        (["--lmax", "two"], "--lmax: must be an integer of at least 2, got 'two'"),
        (["--batch", "0"], "--batch: must be an integer of at least 1, got '0'"),
        (["--dtype", "float16"], "invalid choice: 'float16'"),
        (["--json", "/nowhere/rows.json"], "--json /nowhere/rows.json cannot be written"),
        (["--plot", "/nowhere/figure.png"], "--plot /nowhere/figure.png cannot be written"),
        (["--plot", "figure.doc"], "--plot figure.doc must end in one of"),
        (["--json", "same.svg", "--plot", "same.svg"], "--json and --plot are both same.svg"),
    ],
)
def test_refusals(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dial, "measure", None)  # nothing is measured before
    assert_refused(["dial", *arguments], message, capsys)
    assert not list(tmp_path.iterdir())
