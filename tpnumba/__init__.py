"""E(3)-equivariant tensor products on arrays, without a deep-learning framework."""

from tpnumba.edges import Edges
from tpnumba.irreps import Irrep, Irreps
from tpnumba.measures.equivariance import equivariance_error
from tpnumba.measures.expressivity import expressivity, interactability
from tpnumba.nn.linear import Linear
from tpnumba.products.bracket import BracketTensorProduct, GauntBracketTensorProduct
from tpnumba.products.clebsch_gordan import (
    ChannelwiseTensorProduct,
    ElementwiseTensorProduct,
    FullTensorProduct,
    FullyConnectedTensorProduct,
    TensorProduct,
)
from tpnumba.products.convolution import TensorProductConvolution
from tpnumba.products.gaunt import GauntTensorProduct
from tpnumba.products.low_rank import LowRankTensorProduct
from tpnumba.products.low_rank_fit import fit_low_rank
from tpnumba.products.matrix import MatrixTensorProduct
from tpnumba.products.vector_spherical import VectorSphericalTensorProduct
from tpnumba.sphere.conventions import convert
from tpnumba.sphere.grids import from_grid, to_grid
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.sphere.rotations import rotate, wigner_d
from tpnumba.studies.advice.advise import advise
from tpnumba.tables.clebsch_gordan import clebsch_gordan
from tpnumba.tables.couplings import gaunt
from tpnumba.tables.quadrature import Grid

__version__ = "0.1.0"

__all__ = [
    "BracketTensorProduct",
    "ChannelwiseTensorProduct",
    "Edges",
    "ElementwiseTensorProduct",
    "FullTensorProduct",
    "FullyConnectedTensorProduct",
    "GauntBracketTensorProduct",
    "GauntTensorProduct",
    "Grid",
    "Irrep",
    "Irreps",
    "Linear",
    "LowRankTensorProduct",
    "MatrixTensorProduct",
    "SphericalHarmonics",
    "TensorProduct",
    "TensorProductConvolution",
    "VectorSphericalTensorProduct",
    "advise",
    "clebsch_gordan",
    "convert",
    "equivariance_error",
    "expressivity",
    "fit_low_rank",
    "from_grid",
    "gaunt",
    "interactability",
    "rotate",
    "to_grid",
    "wigner_d",
]
