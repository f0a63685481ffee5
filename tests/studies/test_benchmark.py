"""What the benchmark counts and times: operations, growth, results, rows."""

from __future__ import annotations

import io
from itertools import product as pairs

import numpy as np
import pytest
from strategies import tolerance

import tpnumba as tp
from tpnumba.studies.benchmark import measure as timing
from tpnumba.studies.benchmark.document import Run, growths, mean_ratios, ratios
from tpnumba.studies.benchmark.figure import _style, figure
from tpnumba.studies.benchmark.measure import dense_flops, measure
from tpnumba.studies.benchmark.rows import NAMES, PAPER, SETTINGS, Measurement, Options, subjects
from tpnumba.studies.compare import Row
from tpnumba.studies.growth import THEORY, exponent, theory
from tpnumba.studies.registry import CONFIGURATIONS, CONTENDERS, PRODUCTS, Case, cases
from tpnumba.studies.roofline import Roofline
from tpnumba.studies.timing import interleaved

LIMITS = Roofline(1e9, {"float32": 1e10, "float64": 5e9})


def options(**changed: object) -> Options:
    usual = {"products": tuple(NAMES), "settings": SETTINGS, "degrees": (1, 2), "batch": 30, "dtype": "float32"}
    more = {"backend": "auto", "threads": None, "reference": True, "repeats": 1}
    return Options(**{**usual, **more, **changed})


@pytest.fixture(scope="module")
def rows() -> list[Measurement]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "interleaved", lambda functions, **_: interleaved(functions, repeats=2, repeat_seconds=0))
        return [row for group in measure(options(), LIMITS) for row in group]


def count_direct(p: tp.TensorProduct) -> int:
    """From the table of coefficients alone: of each pair of blocks the cheapest order to multiply x1, x2 and C in.

    Products ``x1_i x2_j`` are formed once and then added with their coefficients; or sums ``C_ijk x1_i`` for every
    (j, k) first; or likewise with x2.
    """
    _, coords, _ = p.coefficients()
    block1, block2 = (np.repeat(np.arange(len(x)), [b.dim for b in x]) for x in (p.irreps_in1, p.irreps_in2))
    total = 0
    for a, b in pairs(range(len(p.irreps_in1)), range(len(p.irreps_in2))):
        chosen = coords[:, (block1[coords[0]] == a) & (block2[coords[1]] == b)]
        terms = 2 * chosen.shape[1]
        total += terms + min(
            len({*zip(*chosen[[0, 1]].tolist(), strict=True)}),
            2 * len({*zip(*chosen[[1, 2]].tolist(), strict=True)}),
            2 * len({*zip(*chosen[[0, 2]].tolist(), strict=True)}),
        )
    return total


def case_of(product: str, method: str, lmax: int, setting: str = "MIMO") -> Case:
    (configuration,) = (entry for entry in CONFIGURATIONS if entry.name == setting)
    (found,) = (entry for entry in PRODUCTS if entry.name == product)
    return Case(configuration, found.contender(method), lmax)


def name_of(case: Case) -> str:
    return f"{case.configuration.name}-{case.contender.product}-{case.lmax}"


@pytest.mark.parametrize("case", [case for case in cases(3) if case.contender.method == "direct"], ids=name_of)
def test_flops_of_direct_methods_are_those_of_the_coefficients(case: Case) -> None:
    p = case.build()
    assert p.cost().flops == count_direct(p)


@pytest.mark.parametrize("lmax", [1, 3, 4])
def test_flops_of_a_grid_are_those_of_its_sums(lmax: int) -> None:
    degree = 4 * lmax
    rings, longitudes = degree // 2 + 1, degree + 2 - degree % 2  # exact to that degree, longitudes in pairs
    flops = 0
    for highest in (lmax, lmax, 2 * lmax):
        for _ in range(rings):
            for _ in range((highest + 1) ** 2):
                flops += 2  # a component times its Legendre function, added to its order
            for _ in range(2 * highest + 1):
                flops += 2 * longitudes  # an order times its cosine or sine at every longitude, added
    flops += 2 * rings * longitudes  # the product, and its weight
    assert case_of("Gaunt", "grid", lmax).build().cost().flops == flops


@pytest.mark.parametrize("lmax", [1, 2, 4])
def test_flops_of_matrices_are_those_of_their_products(lmax: int) -> None:
    rows = 2 * lmax + 1  # operators on the irrep of degree L hold all degrees up to 2 L
    flops = 2 * rows**3
    for highest in (lmax, lmax, 2 * lmax):
        for degree in range(highest + 1):
            flops += 2 * np.count_nonzero(np.abs(tp.clebsch_gordan(lmax, lmax, degree)) > 1e-12)
    assert case_of("matrix", "matrix", lmax).build().cost().flops == flops


@pytest.mark.parametrize("lmax", [1, 2])
def test_dense_flops_are_those_of_arrays_with_their_zeros(lmax: int) -> None:
    flops = 0
    for l1, l2 in pairs(range(lmax + 1), repeat=2):
        first, second = 2 * l1 + 1, 2 * l2 + 1
        out = first * second  # the numbers of all l3 together
        ways = (first * second + 2 * first * second * out, 2 * first * second * out + 2 * second * out)
        flops += min(*ways, 2 * first * second * out + 2 * first * out)
    assert dense_flops(case_of("Clebsch-Gordan", "direct", lmax).build().form) == flops


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda entry: f"{entry.product}-{entry.method}")
def test_flops_grow_as_theory_says(setting: str, contender: object) -> None:
    """From below: lower orders weigh more at small L."""
    found = {}
    for lmaxes in ((4, 6, 8), (5, 7, 9)):  # in SISO an odd or an even L couples nothing
        counts = {L: case_of(contender.product, contender.method, L, setting).build().cost().flops for L in lmaxes}
        if all(counts.values()):
            found = counts
            break
    expected = theory(setting, contender.product, contender.method)
    assert expected is not None
    assert expected - 1 < exponent(found) < expected + 0.2


def test_dense_flops_grow_as_theory_says() -> None:
    for setting in SETTINGS:
        counts = {L: dense_flops(case_of("Clebsch-Gordan", "direct", L, setting).build().form) for L in (4, 6, 8)}
        expected = THEORY[setting]["dense"]
        assert expected - 1 < exponent(counts) < expected + 0.2


def test_every_subject_has_a_row(rows: list[Measurement]) -> None:
    keys = [subject.key for group in subjects(options()) for subject in group]
    assert [row.key for row in rows] == keys
    assert {(row.product, row.method) for row in rows} > {(entry.product, entry.method) for entry in CONTENDERS}
    assert len(keys) == len(set(keys))
    chosen = subjects(options(products=("gaunt",), settings=("SIMO",), degrees=(3,), reference=False))
    assert [[subject.key.method for subject in group] for group in chosen] == [["direct", "grid", "fourier"]]


def test_rows_have_the_fields_of_compare_first(rows: list[Measurement]) -> None:
    shared = list(Row.__dataclass_fields__)
    for row in rows:
        assert list(row.as_dict())[: len(shared)] == shared
        assert Measurement.from_dict(row.as_dict()) == row


def test_rates_follow_from_times(rows: list[Measurement]) -> None:
    for row in rows:
        if row.interactable == 0:
            assert row.seconds_per_sample is row.error is row.roofline is row.flops_per_second is None
            continue
        each = row.seconds_per_sample
        assert row.samples_per_second == pytest.approx(1 / each)
        assert row.flops_per_second == pytest.approx(row.flops / each)
        assert row.bytes_per_second == pytest.approx(row.bytes / each)
        assert row.roofline == pytest.approx(max(row.flops / 1e10, row.bytes / 1e9) / each)
        assert row.seconds_per_irrep == pytest.approx(each / row.output_irreps)
        assert row.seconds_per_degree_of_freedom == pytest.approx(each / row.expressivity)
        if "fourier (paper)" not in row.method:
            assert row.error < tolerance("float32", row.lmax)


def test_what_is_counted_of_a_complete_product(rows: list[Measurement]) -> None:
    found = {row.key[1:]: row for row in rows if row.setting == "MIMO"}
    direct, dense = found["Clebsch-Gordan", "direct", 2], found["Clebsch-Gordan", "dense", 2]
    assert direct.output_irreps == direct.expressivity == direct.triples == 19
    assert dense.flops > 2 * direct.flops
    assert (dense.expressivity, dense.backend) == (19, "generic")
    natural = found["Clebsch-Gordan", "dense (paper)", 2]
    assert natural.output_irreps == natural.expressivity == natural.interactable == 14  # even l1 + l2 + l3 alone
    assert found["matrix", "matrix (paper)", 2].expressivity == 19
    assert found["Gaunt", "grid (paper)", 2].expressivity == found["Gaunt", "grid", 2].expressivity == 9


def test_the_backend_is_the_one_that_evaluated(rows: list[Measurement]) -> None:
    by_method = {row.method: row.backend for row in rows}
    assert (by_method["direct"], by_method["dense"], by_method["grid (paper)"]) == ("cpu", "generic", "numpy")


def test_what_was_measured_is_not_measured_again() -> None:
    asked = options(products=("bracket",), settings=("SISO", "MIMO"), degrees=(1,), batch=4)
    first = [row for group in measure(asked, None) for row in group]
    assert [row.roofline for row in first] == [None] * 4
    known = {row.key for row in first}
    assert list(measure(asked, None, known)) == []
    (again,) = measure(asked, None, known - {first[-1].key})
    assert [row.key for row in again] == [row.key for row in first[2:]]  # those that are timed in turns, together


def test_a_wrong_result_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_call", lambda function, x1, x2: 1.001 * function(x1, x2))
    with pytest.raises(RuntimeError, match=r"Gaunt, direct, MIMO, L = 1: the result deviates from float64 by 1\.0e-03"):
        list(measure(options(products=("gaunt",), settings=("MIMO",), degrees=(1,)), LIMITS))


def test_progress_ends_with_all_of_the_work() -> None:
    seen = []
    asked = options(products=("gaunt",), degrees=(1, 2), reference=False, batch=4)
    list(measure(asked, None, on_progress=lambda *said: seen.append(said)))
    assert [text for text, *_ in seen] == [f"{name}, L = {L}" for name in SETTINGS for L in (1, 2)] + ["done"]
    done = [value for _, value, _ in seen]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == seen[-1][2] > 0


def line(seconds: float, lmax: int, rows: list[Measurement], **changed: object) -> Measurement:
    first = next(row for row in rows if row.key == ("MIMO", "Gaunt", "grid", 1))
    return Measurement.from_dict({**first.as_dict(), "lmax": lmax, "seconds_per_sample": seconds, **changed})


def test_growth_is_fitted_over_the_larger_degrees(rows: list[Measurement]) -> None:
    made = [line(1.0 if L < 4 else L**3.5, L, rows, flops=L**3) for L in (1, 2, 4, 6, 8)]
    (entry,) = growths([*made, line(1.0, 5, rows, product="matrix", seconds_per_sample=None)])
    assert entry[:4] == ("MIMO", "Gaunt", "grid", [4, 6, 8])
    assert entry.seconds_exponent == pytest.approx(3.5)
    assert entry.flops_exponent == pytest.approx(3.0)
    assert entry.theory == 3
    assert growths(made[:1])[0].seconds_exponent is None


def test_ratios_are_of_rows_that_both_runs_timed(rows: list[Measurement]) -> None:
    here = [line(1.0, 1, rows), line(1.0, 2, rows), line(1.0, 3, rows, seconds_per_sample=None), line(1.0, 4, rows)]
    there = [line(2.0, 1, rows), line(8.0, 2, rows), line(1.0, 3, rows)]
    found = ratios(here, there)
    assert [(entry.key.lmax, entry.ratio) for entry in found] == [(1, 2.0), (2, 8.0)]
    assert mean_ratios(found) == {("MIMO", "Gaunt", "grid"): pytest.approx(4.0)}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_figure_has_room_for_its_legend(count: int, rows: list[Measurement]) -> None:
    asked = options(settings=SETTINGS[:count])
    run = Run(
        {"processor": "abacus", "cores": 2}, asked, LIMITS, [row for row in rows if row.setting in asked.settings]
    )
    drawing = figure(run)
    drawing.savefig(io.BytesIO(), format="png")
    (legend,) = drawing.legends
    assert len(legend.get_texts()) == len({(row.product, row.method) for row in run.rows if row.seconds_per_sample})
    place = legend.get_window_extent()
    assert drawing.bbox.x0 <= place.x0 < place.x1 <= drawing.bbox.x1
    assert drawing.bbox.y0 <= place.y0 < place.y1 < min(axis.bbox.y0 for axis in drawing.axes)


def test_lines_are_told_apart_without_colour(rows: list[Measurement]) -> None:
    """By marker, filled or hollow, and line."""
    kinds = {(row.product, row.method) for row in rows}
    styles = [_style(*kind) for kind in kinds]
    seen = {(s["marker"], s["markerfacecolor"] == "white", str(s["linestyle"])) for s in styles}
    assert len(seen) == len(kinds)


def test_every_method_has_a_theory() -> None:
    for subject in (subject for group in subjects(options()) for subject in group):
        assert subject.key.method in THEORY[subject.key.setting]
        assert subject.is_paper is subject.key.method.endswith(PAPER)
