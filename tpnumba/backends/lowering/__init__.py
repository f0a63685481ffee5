"""What the fast backends share on the way from a plan to a program; each decides itself in which order things are done.

``paths``: the channels of a path, and which paths are evaluated together. ``linear_maps`` and ``matrices``: linear maps
as dense and sparse matrices. ``parity``: grids up to reflections. ``arena``: the places of arrays in a tile.
``constants``: those of numbers in tables.
"""
