"""The reference backend: every plan on every array-API namespace. Fast backends must agree with it."""

from tpnumba.backends.generic.evaluation import accepts, evaluate_functional, missing, supports

__all__ = ["accepts", "evaluate_functional", "missing", "supports"]
