"""Products of two lettered arrays against einsum."""

from __future__ import annotations

import array_api_compat
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from strategies import tolerance

from tpnumba.backends.generic.tensordot import arrange, multiply

LETTERS = "abcde"
letters = st.lists(st.sampled_from(LETTERS), unique=True, max_size=4).map(tuple)


@given(ll=letters, rl=letters, kept=st.permutations(LETTERS), count=st.integers(0, 5), seed=st.integers(0, 1000))
def test_multiply_is_einsum(xp, ll, rl, kept, count, seed):
    rng = np.random.default_rng(seed)
    extents = dict(zip(LETTERS, rng.integers(0, 4, 5), strict=True))
    left, right = (rng.standard_normal([extents[letter] for letter in names]) for names in (ll, rl))
    out = tuple(letter for letter in kept[:count] if letter in {*ll, *rl})
    expected = np.einsum(f"{''.join(ll)},{''.join(rl)}->{''.join(out)}", left, right)
    a, b = xp.asarray(left), xp.asarray(right)
    found = xp.to_numpy(multiply(array_api_compat.array_namespace(a), a, ll, b, rl, out))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance("float64", 1, 4**5) * 10)


def test_arrange_permutes(xp):
    array = np.arange(24.0).reshape(2, 3, 4)
    given = xp.asarray(array)
    found = arrange(array_api_compat.array_namespace(given), given, ("a", "b", "c"), ("c", "a", "b"))
    np.testing.assert_array_equal(xp.to_numpy(found), np.einsum("abc->cab", array))
