"""Tensor products: one room each, with its mathematics, its validation and the plan it makes."""

from tpnumba.products.bracket import BracketTensorProduct, GauntBracketTensorProduct
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.matrix import MatrixTensorProduct
from tpnumba.products.sphere import SphereProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct

#: The products on the sphere; studies, property tests and benchmarks take from here what they list.
SPHERE_PRODUCTS: tuple[type[SphereProduct], ...] = (
    GauntTensorProduct,
    BracketTensorProduct,
    GauntBracketTensorProduct,
    MatrixTensorProduct,
    VectorSphericalTensorProduct,
)
