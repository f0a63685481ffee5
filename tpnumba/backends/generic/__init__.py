"""The reference backend: every plan on every array-API namespace. Fast backends must agree with it."""

from tpnumba.backends.generic.evaluation import (
    accepts,
    block_samples,
    evaluate_functional,
    evaluate_rows,
    missing,
    rows,
    supports,
)

__all__ = ["accepts", "block_samples", "evaluate_functional", "evaluate_rows", "missing", "rows", "supports"]
