"""Grammar, order, slices and arithmetic of irreps."""

from __future__ import annotations

import copy
import itertools
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import irreps, irreps_of_l

import tpnumba as tp
from tpnumba.irreps import MulIrrep, check_degree

spaces = st.sampled_from(["", " ", "  ", "\t", "\n"])


@given(irreps_of_l)
def test_irrep_reads_every_spelling(ir):
    l, p = ir  # noqa: E741
    letter = "e" if p == 1 else "o"
    for spelling in (f"{l}{letter}", f" {l} {letter} ", (l, p), ir):
        assert tp.Irrep(spelling) == ir
    assert tp.Irrep(np.int64(l), np.int8(p)) == ir
    assert tp.Irrep(f"{l}y") == tp.Irrep(l, (-1) ** l)
    assert (ir.l, ir.p, ir.dim) == (l, p, 2 * l + 1)
    assert ir.is_scalar() == (str(ir) == "0e")


@given(irreps(max_blocks=5))
def test_round_trip_by_str_repr_pickle_copy(x):
    assert tp.Irreps(str(x)) == tp.Irreps(repr(x)) == x
    for other in (pickle.loads(pickle.dumps(x)), copy.copy(x), copy.deepcopy(x)):
        assert other == x
        assert hash(other) == hash(x)
        assert type(other) is tp.Irreps
        assert all(type(block) is MulIrrep and type(block.ir) is tp.Irrep for block in other)
    assert {x: 1}[tp.Irreps(str(x))] == 1
    assert tp.Irreps(x) is x


@given(st.lists(st.tuples(st.none() | st.integers(0, 99), irreps_of_l, spaces, spaces), min_size=1, max_size=4))
def test_grammar_ignores_white_space_and_defaults_to_one_copy(terms):
    text = "+".join(
        (a if mul is None else f"{a}{mul}{b}x{a}") + f"{ir.l}{b}{'e' if ir.p == 1 else 'o'}{a}"
        for mul, ir, a, b in terms
    )
    assert tp.Irreps(text) == tp.Irreps([(1 if mul is None else mul, ir) for mul, ir, _, _ in terms])


def test_grammar_of_nothing():
    for nothing in ("", "  ", [], ()):
        x = tp.Irreps(nothing)
        assert (len(x), x.dim, x.num_irreps, x.ls, x.slices(), str(x)) == (0, 0, 0, [], [], "")


def test_every_way_to_say_the_same_irreps():
    expected = tp.Irreps("2x0e + 1x1o")
    assert tp.Irreps([(2, "0e"), (1, "1o")]) == expected
    assert tp.Irreps([[2, "0e"], "1o"]) == expected
    assert tp.Irreps([(2, (0, 1)), tp.Irrep("1o")]) == expected
    assert tp.Irreps(list(expected)) == expected
    assert tp.Irreps(block for block in expected) == expected
    assert tp.Irreps(tp.Irrep("1o")) == tp.Irreps("1o")
    assert tp.Irreps(expected[0]) == tp.Irreps("2x0e")


@pytest.mark.parametrize(
    ("before", "term", "after"),
    [
        ("8x0e + ", "4x1q", ""),
        ("8x0e + ", "-1x0e", " + 1o"),
        ("", "1x-1e", " + 0e"),
        ("", "1.5o", ""),
        ("0e+", "", ""),
        ("0e +", "", "+ 1o"),
        ("0e + 1o +  ", "2 x", "  + 3e"),
        ("", "0e 1o", " + 0e"),
        ("", "8×0e", ""),  # noqa: RUF001
        ("", "²x0e", ""),
        ("", "٣e", ""),
        ("", "1E", ""),
        ("0e + ", "x1o", ""),
        ("", "2x3x1o", ""),
    ],
)
def test_malformed_string_shows_the_place(before, term, after):
    text = before + term + after
    with pytest.raises(ValueError, match=re.escape(f"{term!r} at position")) as caught:
        tp.Irreps(text)
    message, shown, caret = str(caught.value).rsplit("\n", 2)
    assert "8x0e + 4x1o" in message  # what was expected
    assert shown == "    " + text
    place = len(caret) - 5
    assert caret == " " * (4 + place) + "^"
    assert text[place:].startswith(term)
    assert f"position {place}" in message
    assert place >= len(before.rstrip())


@pytest.mark.parametrize("text", ["", "e", "1", "1q", "-1e", "1.0e", "2x1o", "1o + 1o", "1 1e", "٣e"])
def test_malformed_irrep_is_named(text):
    with pytest.raises(ValueError, match=re.escape(f"got {text!r}")):
        tp.Irrep(text)


@pytest.mark.parametrize(
    ("error", "make", "message"),
    [
        (ValueError, lambda: tp.Irrep(-1, 1), "non-negative integer, got -1"),
        (TypeError, lambda: tp.Irrep(1.0, 1), "got 1.0 of type float"),
        (TypeError, lambda: tp.Irrep(True, 1), "got True of type bool"),
        (TypeError, lambda: tp.Irrep((True, 1)), "got True of type bool"),
        (TypeError, lambda: tp.Irrep("1o", 1), "got '1o' of type str"),
        (TypeError, lambda: tp.Irrep(1), "got 1"),
        (TypeError, lambda: tp.Irrep(None), "got None"),
        (ValueError, lambda: tp.Irrep(1, 0), r"\+1 or -1, got 0"),
        (ValueError, lambda: tp.Irrep(1, 2), r"\+1 or -1, got 2"),
        (ValueError, lambda: tp.Irrep(1, True), r"\+1 or -1, got True"),
        (ValueError, lambda: tp.Irrep(1, 1.0), r"\+1 or -1, got 1.0"),
        (TypeError, lambda: tp.Irreps(3), "got 3"),
        (TypeError, lambda: tp.Irreps(None), "got None"),
        (TypeError, lambda: tp.Irreps((2, "1o")), "got the item 2"),
        (TypeError, lambda: tp.Irreps([(1, -1)]), r"got the item \(1, -1\)"),
        (TypeError, lambda: tp.Irreps([(1, "1o", 2)]), "got the item"),
        (TypeError, lambda: tp.Irreps([(True, "1o")]), "multiplicity .* got True"),
        (TypeError, lambda: tp.Irreps([(1.0, "1o")]), "multiplicity .* got 1.0"),
        (ValueError, lambda: tp.Irreps([(-1, "1o")]), "multiplicity .* got -1"),
        (ValueError, lambda: tp.Irreps(["2x1o"]), "got '2x1o'"),
        (ValueError, lambda: tp.Irreps.spherical_harmonics(-1), "lmax .* got -1"),
        (TypeError, lambda: tp.Irreps.spherical_harmonics(1.5), "lmax .* got 1.5"),
        (TypeError, lambda: tp.Irreps.spherical_harmonics(True), "lmax .* got True"),
        (ValueError, lambda: tp.Irreps.spherical_harmonics(0, 0), r"p must be \+1 or -1, got 0"),
        (ValueError, lambda: tp.Irreps.spherical_harmonics(2, True), r"p must be \+1 or -1, got True"),
        (ValueError, lambda: tp.Irreps("").lmax, "empty"),
        (ValueError, lambda: tp.Irreps("0x1o").lmax, "empty"),
        (ValueError, lambda: tp.Irreps("").filter(lmax=-1), "lmax .* got -1"),
        (ValueError, lambda: tp.Irreps("0e").filter("0e", drop="0e"), "keep or drop"),
        (ValueError, lambda: "nonsense" in tp.Irreps("1o"), "got 'nonsense'"),
        (NotImplementedError, lambda: tp.Irreps("1o") * tp.Irreps("1o"), "FullTensorProduct"),
        (TypeError, lambda: tp.Irreps("1o") * 2.0, "got 2.0"),
        (TypeError, lambda: tp.Irreps("1o") * True, "got True"),
        (TypeError, lambda: 2.0 * tp.Irrep("1o"), "got 2.0"),
        (ValueError, lambda: -1 * tp.Irrep("1o"), "got -1"),
        (TypeError, lambda: tp.Irrep("1o") * 2, "got 2"),
        (NotImplementedError, lambda: 1 in tp.Irrep("1o"), "contains nothing"),
        (NotImplementedError, lambda: tp.Irrep("1o").count(1), "Irrep has no count"),
        (NotImplementedError, lambda: tp.Irrep("1o").index(1), "Irrep has no index"),
        (NotImplementedError, lambda: tp.Irreps("1o")[0].count(1), "MulIrrep has no count"),
        (NotImplementedError, lambda: tp.Irreps("1o")[0].index(1), "MulIrrep has no index"),
        (NotImplementedError, lambda: tp.Irreps("1o").index("1o"), "Irreps has no index"),
    ],
)
def test_bad_arguments_are_refused(error, make, message):
    with pytest.raises(error, match=message):
        make()


def test_check_degree_names_the_argument():
    assert check_degree("lmax", np.int32(3)) == 3
    with pytest.raises(TypeError, match="lmax must be a non-negative integer, got '3' of type str"):
        check_degree("lmax", "3")


def test_irreps_are_frozen():
    for thing in (tp.Irrep("1o"), tp.Irreps("2x1o"), tp.Irreps("2x1o")[0]):
        with pytest.raises(AttributeError):
            thing.something = 1


def test_order_is_by_degree_then_odd_before_even():
    ordered = [tp.Irrep(text) for text in ["0o", "0e", "1o", "1e", "2o", "2e", "3o", "3e"]]
    for a, b in itertools.combinations(ordered, 2):
        assert a < b
        assert a != b
    assert list(map(str, tp.Irrep.iterator(2))) == ["0e", "0o", "1o", "1e", "2e", "2o"]
    assert list(map(str, itertools.islice(tp.Irrep.iterator(), 3))) == ["0e", "0o", "1o"]


@given(irreps(max_blocks=6))
def test_sort_is_a_stable_permutation(x):
    result = x.sort()
    ordered, p, inv = result
    assert (result.irreps, result.p, result.inv) == (ordered, p, inv)
    assert sorted(p) == list(range(len(x)))
    assert all(p[inv[k]] == k and inv[p[k]] == k for k in range(len(x)))
    assert all(ordered[p[i]] == x[i] for i in range(len(x)))
    for a, b in itertools.pairwise(range(len(x))):
        assert (ordered[a].ir, inv[a]) < (ordered[b].ir, inv[b])


@given(irreps(max_blocks=6))
def test_simplify_keeps_the_memory_order(x):
    short = x.simplify()
    assert [ir for mul, ir in short for _ in range(mul)] == [ir for mul, ir in x for _ in range(mul)]
    assert all(block.mul > 0 for block in short)
    assert all(a.ir != b.ir for a, b in itertools.pairwise(short))
    assert short.simplify() == short


@given(irreps(max_blocks=6))
def test_regroup_has_each_irrep_once_in_order(x):
    grouped = x.regroup()
    kinds = [block.ir for block in grouped]
    assert kinds == sorted(set(kinds))
    assert all(block.mul == x.count(block.ir) > 0 for block in grouped)
    assert grouped.num_irreps == x.num_irreps


@given(irreps(max_blocks=6))
def test_slices_tile_the_dimension(x):
    slices = x.slices()
    assert [i for cut in slices for i in range(x.dim)[cut]] == list(range(x.dim))
    assert [cut.stop - cut.start for cut in slices] == [block.dim for block in x] == [m * ir.dim for m, ir in x]
    assert x.dim == sum(2 * l + 1 for l in x.ls)  # noqa: E741
    assert x.num_irreps == len(x.ls)
    if x.ls:
        assert x.lmax == max(x.ls)


@given(irreps(max_blocks=6), irreps(max_blocks=2), st.integers(0, 3))
def test_filter_splits_the_blocks(x, rule, lmax):
    wanted = {ir for _, ir in rule}
    kept, dropped = x.filter(rule), x.filter(drop=rule)
    assert list(kept) == [block for block in x if block.ir in wanted]
    assert list(dropped) == [block for block in x if block.ir not in wanted]
    assert x.filter(str(rule)) == x.filter([ir for _, ir in rule]) == kept
    assert x.filter(lambda block: block.ir in wanted) == kept
    assert x.filter(drop=lambda block: block.ir in wanted) == dropped
    assert list(x.filter(lmax=lmax)) == [block for block in x if block.ir.l <= lmax]
    assert x.filter(rule, lmax=lmax) == kept.filter(lmax=lmax)
    assert x.filter() == x


@given(irreps(), irreps(), st.integers(0, 3))
def test_arithmetic_is_that_of_direct_sums(x, y, n):
    assert list(x + y) == [*x, *y]
    assert x + str(y) == str(x) + y == x + y
    assert list(x * n) == list(x) * n
    assert n * x == x * n
    for total in (x + y, x * n, x[1:], x[::-1]):
        assert type(total) is tp.Irreps
    assert sum([x, y], tp.Irreps("")) == x + y


@given(irreps_of_l, irreps_of_l, st.integers(0, 3))
def test_irrep_arithmetic(a, b, n):
    assert n * a == tp.Irreps([(n, a)])
    assert a + b == tp.Irreps([(1, a), (1, b)])
    assert a + str(b) == a + b


@given(irreps_of_l, irreps_of_l)
def test_selection_rules(a, b):
    product = list(a * b)
    assert sum(ir.dim for ir in product) == a.dim * b.dim
    assert [ir.l for ir in product] == list(range(abs(a.l - b.l), a.l + b.l + 1))
    assert {ir.p for ir in product} == {a.p * b.p}
    assert product == list(b * a) == list(a * str(b))


@given(irreps(max_blocks=5), irreps_of_l)
def test_count_and_contains_look_at_copies(x, ir):
    copies = [block.ir for block in x for _ in range(block.mul)]
    assert x.count(ir) == x.count(str(ir)) == copies.count(ir)
    assert (ir in x) == (str(ir) in x) == (ir in copies)


def test_zero_multiplicities_are_kept_until_asked():
    x = tp.Irreps("0x1o + 2x0e + 0x2e")
    assert str(x) == "0x1o+2x0e+0x2e"
    assert (x.dim, x.num_irreps, x.lmax) == (2, 2, 0)
    assert x.remove_zero_multiplicities() == x.simplify() == tp.Irreps("2x0e")
    assert x != tp.Irreps("2x0e")
    assert "1o" not in x


@pytest.mark.parametrize("lmax", [0, 1, 5])
def test_spherical_harmonics_have_their_parity(lmax):
    natural = tp.Irreps.spherical_harmonics(lmax)
    assert [str(block.ir) for block in natural] == [str(tp.Irrep(f"{l}y")) for l in range(lmax + 1)]  # noqa: E741
    assert natural.dim == (lmax + 1) ** 2
    assert {ir.p for _, ir in tp.Irreps.spherical_harmonics(lmax, 1)} == {1}


def test_the_largest_degree_of_many_copies_needs_no_list_of_them():
    assert tp.Irreps("1000000000000000x1o + 0x7e + 2e").lmax == 2
