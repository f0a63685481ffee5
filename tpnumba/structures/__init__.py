"""Atoms in a cell: structures from files, and neighbours."""
