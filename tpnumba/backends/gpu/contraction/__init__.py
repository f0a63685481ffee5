"""Contractions: lowered to sums over tables and matrix products, or with a known operand contracted first."""
