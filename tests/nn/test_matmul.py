"""Matrix products in pieces: the numbers of one product, whatever does not divide what, and no threads of BLAS."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import tolerance

from tpnumba.backends.cpu.layout import MOST_MULTIPLICATIONS
from tpnumba.backends.namespaces import numpy_context
from tpnumba.nn.matmul import matmul

SHAPES = [(256, 64, 992), (256, 8, 64), (256, 992, 64), (200, 300, 130), (64, 256, 992), (97, 128, 65), (1000, 5, 300)]
SHAPES += [(3, 4, 5), (0, 64, 64), (256, 64, 0), (256, 0, 64), (31, 1000, 1000), (256, 129, 400), (70, 3000, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_product(shape, dtype):
    m, k, n = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    wanted = a.astype("float64") @ b.astype("float64")
    limit = tolerance(dtype, 0, max(k, 1)) * float(np.abs(wanted).max(initial=1.0))
    context = numpy_context(dtype)
    whole = np.full((m, n), np.nan, dtype)
    assert matmul(context, a, b, whole) is whole
    for found in (
        whole,
        matmul(context, a, b),
        matmul(context, np.asfortranarray(a), b),
        matmul(context, a, np.asfortranarray(b)),
    ):
        assert found.dtype == dtype
        np.testing.assert_allclose(found, wanted, rtol=0, atol=limit)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_piece_is_large(shape, monkeypatch):
    m, k, n = shape
    plain, seen = np.matmul, []

    def noted(a, b, **options):
        seen.append(a.shape[-2] * a.shape[-1] * b.shape[-1])
        return plain(a, b, **options)

    monkeypatch.setattr(np, "matmul", noted)
    matmul(numpy_context("float64"), np.ones((m, k)), np.ones((k, n)))
    assert seen
    assert max(seen) <= MOST_MULTIPLICATIONS
