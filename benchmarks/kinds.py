"""Kinds of work, by name."""

from tpnumba.products import SPHERE_PRODUCTS

#: See :class:`benchmarks.product_works.ProductWork`.
CLEBSCH_GORDAN = ("full", "channelwise", "connected")

#: Products on the sphere, with what the registry calls them.
ON_SPHERE = {variant.key: variant.title for product in SPHERE_PRODUCTS for variant in product.VARIANTS}
