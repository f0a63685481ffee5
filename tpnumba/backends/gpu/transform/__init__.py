"""Transforms and syntheses: in one kernel where the grid values of a sample fit into a tile, else in several passes."""
