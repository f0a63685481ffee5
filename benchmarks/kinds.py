"""Kinds of work, by name."""

#: See :class:`benchmarks.product_works.ProductWork`.
CLEBSCH_GORDAN = ("full", "channelwise", "connected")

#: Products on the sphere, with what the registry calls them.
ON_SPHERE = {
    "gaunt": "Gaunt",
    "bracket": "bracket",
    "gaunt-bracket": "Gaunt + bracket",
    "matrix": "matrix",
    "vector-cross": "vector spherical (cross)",
    "vector-dot": "vector spherical (dot)",
}
