"""The reference backend: every plan on every array-API namespace. Fast backends must agree with it."""

from tpnumba.backends.generic.pieces import run

__all__ = ["run"]
