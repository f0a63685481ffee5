"""The page that sets the paper's numbers beside measured ones."""

from __future__ import annotations

import pytest

from benchmarks import paper


def row(lmax, product, method, seconds):
    numbers = {"seconds_per_irrep": seconds / 2, "expressivity": 4, "seconds_per_degree_of_freedom": seconds / 4}
    return {"setting": "MIMO", "lmax": lmax, "product": product, "method": method, "error": 1e-7, **numbers} | {
        "seconds_per_sample": seconds
    }


@pytest.fixture
def run():
    rows = [
        row(1, "Gaunt", "grid", 1e-7),
        row(1, "Gaunt", "grid (paper)", 3e-7),
        row(1, "Gaunt", "fourier", 2e-7),
        row(1, "Gaunt", "fourier (paper)", 6e-7),
        row(2, "Gaunt", "direct", 5e-8),
        row(2, "Gaunt", "grid", 1e-7),
        row(2, "Gaunt", "grid (paper)", 1e-9),
    ]
    grown = {"setting": "MIMO", "product": "Gaunt", "method": "grid", "fitted": [1, 2], "theory": 3}
    return {
        "machine": {"processor": "one"},
        "options": {"dtype": "float32", "batch": 10_000, "repeats": 3},
        "rows": rows,
        "growth": [{**grown, "flops_exponent": 2.5, "seconds_exponent": 1.25}],
    }


def lines(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_each_number_stands_beside_that_of_the_paper(run):
    head, _, first, *_ = lines(paper.times(paper.index(run)))
    cells = dict(zip(head, first, strict=True))
    assert cells["Gaunt grid"] == "2.27 / 3 / 1"
    assert cells["Gaunt Fourier"] == "11.2 / 6 / 2"
    assert cells["matrix"] == "14.4 / - / -"
    _, _, first, *_ = lines(paper.ratios(paper.index(run)))
    assert dict(zip(head, first, strict=True))["Gaunt Fourier"] == "4.9 / 2 / 2"


def test_the_quickest_method_stands_for_a_product_and_no_way_of_the_paper(run):
    _, _, *rest = lines(paper.normalized(paper.index(run), (2,)))
    assert rest == [["2", "Gaunt", "direct", "50", "25", "4", "12.5", "1e-07"]]


def test_the_page(run):
    trained = {"runs": [{"product": "Gaunt", "correct": n, "of": 8, "wrong": ["screw"] * (8 - n)} for n in (7, 8, 7)]}
    text = paper.report(run, trained)
    assert "| Gaunt | grid | 1 to 2 | 2.50 | 1.25 | 3 |" in text
    assert "| Gaunt | 7 of 8 | 7 to 8 | screw in 2 of 3 |" in text


def test_what_cannot_be_fitted_is_left_open(run):
    """As in a run of one degree."""
    run["growth"][0] |= {"fitted": [1], "flops_exponent": None, "seconds_exponent": None, "theory": None}
    assert lines(paper.growth(run))[2] == ["Gaunt", "grid", "1 to 1", "-", "-", "-"]
