"""Trained potentials: their graphs, layers and files."""
