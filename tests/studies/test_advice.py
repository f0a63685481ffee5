"""The adviser: what it offers reaches what must be reached, what it leaves out does not, and the order is by cost."""

from __future__ import annotations

from itertools import product as each

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import tolerance

import tpnumba as tp
from tpnumba.plans.speed import LARGE_RESULT, _calls, seconds, seconds_of_call
from tpnumba.sphere.rotations import rotate
from tpnumba.studies.advice import advise as adviser
from tpnumba.studies.advice.requirement import read_requirement
from tpnumba.studies.registry import CONTENDERS
from tpnumba.studies.timing import interleaved

NATURAL = "0e+1o+2e"


def names(advice) -> set[str]:
    return {choice.product for choice in advice.ranking}


def test_products_and_methods_are_those_of_the_registry() -> None:
    advice = tp.advise(NATURAL, NATURAL, NATURAL, "1,1,2")
    listed = {(choice.product, choice.method) for choice in advice.ranking}
    registered = {(entry.product, entry.method) for entry in CONTENDERS if entry.product != "bracket"}
    registered -= {("Clebsch-Gordan", "grid")}  # never the quicker one
    assert listed == registered | {("matrix (split)", "direct"), ("matrix (split)", "matrix")}
    times = [choice.seconds_per_sample for choice in advice.ranking]
    assert times == sorted(times)
    assert min(times) > 0


def test_what_cannot_couple_is_left_out() -> None:
    out = "0e+1o+1e+2e"
    assert "Gaunt" not in names(tp.advise(NATURAL, NATURAL, out, (1, 1, 1)))
    assert "bracket" in names(tp.advise(NATURAL, NATURAL, out, (1, 1, 1)))
    assert not {"Gaunt", "bracket"} & names(tp.advise(NATURAL, NATURAL, out, [(1, 1, 1), (1, 1, 2)]))
    # The cross product of fields has no scalar times scalar; that is no matter of parity.
    assert "vector spherical (cross)" not in names(tp.advise(NATURAL, NATURAL, out, (0, 0, 0)))
    # A 6j symbol that vanishes by accident.
    six = tp.Irreps.spherical_harmonics(6)
    assert "matrix" not in names(tp.advise(six, six, six, [(3, 5, 6)]))
    assert "matrix" in names(tp.advise(six, six, six, [(3, 5, 4)]))


def test_what_no_product_with_parity_couples_is_said() -> None:
    advice = tp.advise(NATURAL, NATURAL, NATURAL, "1,1,1")
    assert advice.impossible == ((1, 1, 1),)
    assert all("parity" in choice.gives_up for choice in advice.ranking)
    assert "No product that respects the inversion couples 1,1,1" in advice.statements()[0]
    other = tp.advise(NATURAL, NATURAL, "0e+1o+1e+2e", "1,1,1")
    assert other.impossible == ()
    kept = {choice.product for choice in other.ranking if "parity" not in choice.gives_up}
    assert kept == {"Clebsch-Gordan", "bracket", "Gaunt + bracket", "matrix (split)", "vector spherical (cross)"}


def test_pseudo_functions_are_functions_of_the_other_parity() -> None:
    """Both signs of an input change the parity of the output, and nothing else."""
    advice = tp.advise("0o+1e+2o", NATURAL, "0o+1e+2o", "1,1,2")
    gaunt = next(choice for choice in advice.ranking if choice.product == "Gaunt")
    assert "parity" not in gaunt.gives_up
    assert gaunt.couples == tuple(sorted(tp.interactability(tp.GauntTensorProduct(2, 2, 2))))
    mixed = tp.advise("0e+1e+2e", NATURAL, "0e+1o+1e+2e", "1,1,0")
    assert all("parity" in choice.gives_up for choice in mixed.ranking if choice.product == "Gaunt")


def test_two_copies_of_a_degree_are_no_function() -> None:
    advice = tp.advise("0e+1o+1e", "0e+1o", "0e+1o+1e", "1,1,0")
    assert names(advice) == {"Clebsch-Gordan"}
    assert advice.statements()[0] == ("Nothing cheaper than the complete product couples all this: it is the cheapest.")


def coupled_by_numbers(p: tp.FullTensorProduct) -> set[tuple[int, int, int]]:
    """Which degrees the numbers of a product join, block by block: nothing of its form is read."""
    rng = np.random.default_rng(0)
    found = set()
    for (a, block1), (b, block2) in each(enumerate(p.irreps_in1), enumerate(p.irreps_in2)):
        x1, x2 = np.zeros((4, p.irreps_in1.dim)), np.zeros((4, p.irreps_in2.dim))
        x1[:, p.irreps_in1.slices()[a]] = rng.standard_normal((4, block1.dim))
        x2[:, p.irreps_in2.slices()[b]] = rng.standard_normal((4, block2.dim))
        result = p(x1, x2, backend="generic")
        for where, block in zip(p.irreps_out.slices(), p.irreps_out, strict=True):
            if np.max(np.abs(result[:, where])) > 1e-9:
                found.add((block1.ir.l, block2.ir.l, block.ir.l))
    return found


@pytest.mark.parametrize("must_couple", ["1,1,2", "1,1,1", "2,1,2", "all"])
@pytest.mark.parametrize("out", [NATURAL, "0e+1o+1e+2e+2o"])
def test_choices_couple_what_they_say(out: str, must_couple: str) -> None:
    advice = tp.advise(NATURAL, NATURAL, out, must_couple)
    assert advice.ranking
    for choice in advice.ranking:
        couples = coupled_by_numbers(choice.operator)
        assert set(advice.must_couple) <= set(choice.couples) <= couples
        if "parity" in choice.gives_up:
            assert set(choice.couples) == couples & read_requirement(NATURAL, NATURAL, out, "all").possible(
                parity=False
            )


def test_choices_that_keep_parity_are_equivariant_under_the_inversion() -> None:
    """Features of the irreps given, fed to the blocks of the same irrep: what comes out turns as irreps_out."""
    advice = tp.advise(NATURAL, NATURAL, "0e+1o+1e+2e+2o", "1,1,1")
    irreps = tp.Irreps(NATURAL)
    rng = np.random.default_rng(0)
    inversion = -np.eye(3)
    for choice in advice.ranking:
        p = choice.operator
        if "parity" in choice.gives_up:
            continue
        x, y = (fed(rng.standard_normal((3, irreps.dim)), irreps, into) for into in (p.irreps_in1, p.irreps_in2))
        turned = p(rotate(p.irreps_in1, inversion, x), rotate(p.irreps_in2, inversion, y), backend="generic")
        expected = rotate(p.irreps_out, inversion, p(x, y, backend="generic"))
        assert np.max(np.abs(turned - expected)) < tolerance("float64", 4) * np.max(np.abs(expected))


def fed(x: np.ndarray, irreps: tp.Irreps, into: tp.Irreps) -> np.ndarray:
    """Into every block the feature of its irrep; zero where there is none."""
    places = {block.ir: where for block, where in zip(irreps, irreps.slices(), strict=True)}
    blocks = [x[:, places[b.ir]] if b.ir in places else np.zeros((len(x), b.dim)) for b in into]
    return np.concatenate(blocks, axis=1)


def test_what_is_given_up_is_what_the_complete_product_has_more() -> None:
    advice = tp.advise(NATURAL, NATURAL, NATURAL, "1,1,2")
    complete = next(choice for choice in advice.ranking if choice.product == "Clebsch-Gordan")
    assert complete.gives_up == ()
    assert set(complete.couples) == tp.interactability(tp.FullTensorProduct(NATURAL, NATURAL, NATURAL))
    for choice in advice.ranking:
        lost = [item for item in choice.gives_up if item[0].isdigit()]
        assert lost == [",".join(map(str, t)) for t in complete.couples if t not in choice.couples]
    gaunt = next(choice for choice in advice.ranking if choice.product == "Gaunt")
    reached = tp.expressivity(gaunt.operator, single_copies=True)
    assert gaunt.gives_up == (f"weights and normalisation of single triples: {reached} of 11 degrees of freedom",)


def test_required_paths_alone() -> None:
    advice = tp.advise(NATURAL, NATURAL, "0e+1o+1e+2e", ["1,1,1", (1, 1, 0)])
    assert tp.interactability(advice.alone) == {(1, 1, 1), (1, 1, 0)}
    assert 0 < advice.alone_seconds < max(choice.seconds_per_sample for choice in advice.ranking)


def test_channels_are_samples() -> None:
    single = tp.advise("0e+1o", "0e+1o", "0e+1o", "1,1,0", batch=32_000)
    channels = tp.advise("32x0e+32x1o", "0e+1o", "32x0e+32x1o", "1,1,0", batch=1000)
    assert [choice.product for choice in channels.ranking] == [choice.product for choice in single.ranking]
    for one, many in zip(single.ranking, channels.ranking, strict=True):
        assert many.seconds_per_sample == pytest.approx(32 * one.seconds_per_sample)
        assert many.operator == one.operator


def test_measured_times_are_those_of_the_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def timed(functions, **options):
        seen.extend(function().shape for function in functions.values())
        return interleaved(functions, repeats=1, repeat_seconds=0.0)

    monkeypatch.setattr(adviser, "interleaved", timed)
    advice = tp.advise("4x0e+4x1o", "4x0e+4x1o", "4x0e+4x1o", "all", batch=10, measure=True, dtype="float64")
    assert advice.measured
    assert len(seen) == len(advice.ranking) + 1
    assert {shape[0] for shape in seen} == {40}


def test_a_json_of_it_has_what_is_promised() -> None:
    document = tp.advise(NATURAL, NATURAL, NATURAL, "1,1,2").as_dict()
    for entry in document["ranking"]:
        assert list(entry) == ["product", "method", "seconds_per_sample", "couples", "gives_up"]
        assert [1, 1, 2] in entry["couples"]


@given(st.sets(st.integers(0, 3), min_size=1), st.sets(st.integers(0, 3), min_size=1), st.data())
@settings(max_examples=15)
def test_there_is_always_the_complete_product(first: set[int], second: set[int], data: st.DataObject) -> None:
    def irreps(degrees: set[int]) -> tp.Irreps:
        return tp.Irreps([(1, (degree, data.draw(st.sampled_from([1, -1])))) for degree in sorted(degrees)])

    l1, l2 = data.draw(st.sampled_from(sorted(first))), data.draw(st.sampled_from(sorted(second)))
    l3 = data.draw(st.integers(abs(l1 - l2), l1 + l2))
    advice = tp.advise(irreps(first), irreps(second), irreps({l3}), (l1, l2, l3))
    assert "Clebsch-Gordan" in names(advice)
    assert all((l1, l2, l3) in choice.couples for choice in advice.ranking)
    assert str(advice)


@pytest.mark.parametrize(
    "given", [["1,1,0"], (1, 1, 0), [(1, 1, 0)], np.array([1, 1, 0]), np.array([[1, 1, 0]])], ids=repr
)
def test_triples_are_read_however_they_are_given(given) -> None:
    assert tp.advise(NATURAL, NATURAL, NATURAL, given).must_couple == ((1, 1, 0),)
    assert tp.advise(NATURAL, NATURAL, NATURAL, ["all"]).must_couple == (
        tp.advise(NATURAL, NATURAL, NATURAL, "all").must_couple
    )


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((NATURAL, NATURAL, NATURAL, "1,1"), ValueError, r"must_couple must have triples \(l1, l2, l3\)"),
        ((NATURAL, NATURAL, NATURAL, [1, 2]), ValueError, r"got 1"),
        ((NATURAL, NATURAL, NATURAL, "1,1,x"), ValueError, r"got '1,1,x'"),
        ((NATURAL, NATURAL, NATURAL, []), ValueError, "at least one triple"),
        ((NATURAL, NATURAL, NATURAL, "0,1,2"), ValueError, "0,1,2, which is no triangle"),
        ((NATURAL, NATURAL, NATURAL, "3,1,2"), ValueError, "irreps_in1 no irrep of degree 3"),
        ((NATURAL, NATURAL, NATURAL, "2,2,4"), ValueError, "irreps_out no irrep of degree 4"),
        ((NATURAL, "", NATURAL, "1,1,1"), ValueError, "irreps_in2 must have at least one irrep"),
        (("2x0e+1o", NATURAL, NATURAL, "0,0,0"), ValueError, "irreps_in1 must have the same multiplicity everywhere"),
        (("2x0e", "3x0e", "3x0e", "0,0,0"), ValueError, "got 2, 3 and 3"),
        (("2x0e", "2x0e", "0e", "0,0,0"), ValueError, "got 2, 2 and 1"),
        (("7q", NATURAL, NATURAL, "0,0,0"), ValueError, "7q"),
        (
            ("1o", "1o", "5e", "all"),
            ValueError,
            "no product of irreps_in1 1x1o and irreps_in2 1x1o reaches irreps_out 1x5e",
        ),
        ((NATURAL, NATURAL, NATURAL, ["all", "9,9,9"]), ValueError, r"must be 'all' or triples, got both"),
        ((NATURAL, NATURAL, NATURAL, None), TypeError, r"must_couple must be triples .* got None"),
        ((NATURAL, NATURAL, NATURAL, 3), TypeError, r"must_couple must be triples .* got 3"),
    ],
)
def test_bad_requirements_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        tp.advise(*arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": 0}, ValueError, "batch must be a positive integer"),
        ({"batch": 1.5}, TypeError, "batch"),
        ({"dtype": "float16"}, ValueError, "dtype must be"),
        ({"backend": "quantum"}, ValueError, "backend must be one of"),
        ({"backend": "gpu", "measure": True}, (ImportError, RuntimeError), "backend 'gpu' needs"),
        ({"measure": True, "batch": 10**13}, MemoryError, "would take"),
    ],
)
def test_bad_options_are_refused(options, error, message) -> None:
    with pytest.raises(error, match=message):
        tp.advise(NATURAL, NATURAL, NATURAL, "1,1,2", **options)


def test_the_model_of_a_call_knows_calls_threads_and_new_memory() -> None:
    calls = _calls()
    plan = tp.FullTensorProduct(NATURAL, NATURAL).plan
    each_sample = seconds(plan, "cpu", "float32")
    one, few = (seconds_of_call(plan, batch, "cpu", "float32") for batch in (1, 32))
    assert one == few == pytest.approx(calls.seconds + 32 * calls.threads * each_sample)
    large = LARGE_RESULT // (4 * plan.sizes[2]) + 1
    before, after = (seconds_of_call(plan, batch, "cpu", "float32") for batch in (large - 1, large))
    assert before == pytest.approx(calls.seconds + calls.sharing + (large - 1) * each_sample)
    assert after - before == pytest.approx(calls.new_byte * large * 4 * plan.sizes[2] + each_sample)
    assert seconds_of_call(plan, 100, "generic", "float64") == pytest.approx(
        calls.seconds + 100 * seconds(plan, "generic", "float64")
    )
