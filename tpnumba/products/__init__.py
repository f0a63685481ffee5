"""Tensor products: one room each, with its mathematics, its validation and the plan it makes."""
