"""Contractions of channels with one operand that has none: the lanes of a vector are channels."""
