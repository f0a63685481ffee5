"""Cubic polynomials of one variable, several functions of it at a time."""
