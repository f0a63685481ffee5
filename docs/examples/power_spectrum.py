r"""
Power spectrum and bispectrum of a structure
============================================

Descriptors of the SOAP family expand the neighbours of an atom in radial functions times spherical harmonics and make
invariants of the coefficients: products of two give the power spectrum, products of three the bispectrum. Here both
are made for every atom of hydrazine. The power spectrum is checked against `DScribe
<https://singroup.github.io/dscribe/latest/>`_, the bispectrum against SymPy's Clebsch-Gordan coefficients.
"""

# %%
# Expand the neighbourhoods
# -------------------------
#
# The density around an atom is a sum of Gaussians of width :math:`\sigma`, one for each neighbour and the atom itself.
# With orthonormal radial functions :math:`g_{nl}`, its coefficients are
#
# .. math::
#
#    c_{nlm} = \sum_i Y_{lm}(\hat r_i) \; 4 \pi e^{-r_i^2 / 2 \sigma^2}
#    \int_0^\infty r^2 g_{nl}(r) \, e^{-r^2 / 2 \sigma^2} \, i_l(r r_i / \sigma^2) \, dr
#
# with the modified spherical Bessel functions :math:`i_l`. The radial functions are DScribe's (Gaussians times
# :math:`r^l`, made orthonormal), so that the numbers can be compared; the integrals are taken by quadrature.

import matplotlib.pyplot as plt
import numpy as np
from ase.build import molecule
from dscribe.descriptors import SOAP
from scipy.spatial.transform import Rotation
from scipy.special import spherical_in
from sympy.physics.wigner import wigner_3j

import tpnumba as tp

N_MAX, L_MAX, SIGMA, R_CUT = 4, 4, 0.5, 6.0
atoms = molecule("N2H4")  # twisted: not its own mirror image
atoms.set_atomic_numbers([1] * len(atoms))  # one species, to keep the descriptor short
soap = SOAP(species=["H"], r_cut=R_CUT, n_max=N_MAX, l_max=L_MAX, sigma=SIGMA, rbf="gto")
alphas, betas = soap.get_basis_gto(R_CUT, N_MAX, L_MAX)


def radial_functions(r):
    """Orthonormal radial functions, shape ``(n_max, l_max + 1, len(r))``."""
    primitive = np.exp(-alphas[:, :, None] * r**2) * r ** np.arange(L_MAX + 1)[:, None, None]
    return np.einsum("lnk,lkr->nlr", betas, primitive)


def radial_integrals(distances):
    """The radial factor of each neighbour, shape ``(len(distances), n_max, l_max + 1)``."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    r, weights = (nodes + 1) * R_CUT, weights * R_CUT  # 0 to 12 angstrom, where every Gaussian has died away
    x = r * distances[:, None] / SIGMA**2
    # The product of the Gaussians and i_l, with the exponential growth of i_l taken into the exponent.
    bessel = np.stack([spherical_in(degree, x) for degree in range(L_MAX + 1)], axis=1) * np.exp(-x)[:, None]
    decay = np.exp(-((r - distances[:, None]) ** 2) / (2 * SIGMA**2))
    return 4 * np.pi * np.einsum("nlr,ilr,ir,r->inl", radial_functions(r), bessel, decay, weights * r**2)


harmonics = tp.SphericalHarmonics(L_MAX)
degree_of = np.repeat(np.arange(L_MAX + 1), 2 * np.arange(L_MAX + 1) + 1)
vectors = atoms.positions[None, :] - atoms.positions[:, None]  # from each atom to all
distances = np.linalg.norm(vectors, axis=-1)
radial = radial_integrals(distances.ravel()).reshape(*distances.shape, N_MAX, L_MAX + 1)
c = np.sum(radial[..., degree_of] * harmonics(vectors)[:, :, None, :], axis=1)
print(c.shape)  # atoms, radial functions, (l_max + 1)^2

# %%
# Power spectrum
# --------------
#
# :math:`\sum_m c_{nlm} c_{n'lm}` is the scalar part of the product of two features. A product that keeps only the
# paths to ``0e`` gives it for all degrees, and broadcasting gives it for all pairs of radial functions. A path of
# ``FullTensorProduct`` carries the coefficients :math:`C(l, l, 0) = \delta_{mm'} / \sqrt{2l + 1}`; DScribe's power
# spectrum is :math:`\pi \sqrt{8 / (2l + 1)}` times the plain sum.

irreps = tp.Irreps.spherical_harmonics(L_MAX)
scalars = tp.FullTensorProduct(irreps, irreps, filter_ir_out="0e")
degrees = np.array([path.ir1.l for path in scalars.paths])
pairs = scalars(c[:, :, None], c[:, None, :])
power = pairs * np.pi * np.sqrt(8)
print(scalars.irreps_out, power.shape)

# DScribe lists degrees outermost, then the pairs n' >= n.
n, other = np.triu_indices(N_MAX)
ours = np.moveaxis(power[:, n, other], -1, 1).reshape(len(atoms), -1)
assert list(degrees) == list(range(L_MAX + 1))
theirs = soap.create(atoms)
deviation = np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs))
print(f"greatest deviation from DScribe: {deviation:.1e}")
assert deviation < 1e-8  # what DScribe's own integrals are good for

# %%
# Bispectrum
# ----------
#
# The product of two densities, every path by itself, and then the scalar product with a third. Here the three are
# the coefficients of three radial functions, so that no path vanishes by symmetry. Degrees up to 3 will do.

L_MAX = 3
irreps = tp.Irreps.spherical_harmonics(L_MAX)
full = tp.FullTensorProduct(irreps, irreps)
paths = [path for path in full.paths if path.ir_out.l <= L_MAX]
a, b, d = (np.ascontiguousarray(c[:, i, : irreps.dim]) for i in range(3))


def bispectrum(a, b, d):
    """One number for each path, shape ``(..., len(paths))``."""
    z = full(a, b)
    blocks, thirds = full.irreps_out.slices(), irreps.slices()
    # The path is normalised to sqrt(2 l + 1) times the Clebsch-Gordan coefficients.
    invariants = [
        np.sum(z[..., blocks[p.i_out]] * d[..., thirds[p.ir_out.l]], axis=-1) / np.sqrt(p.ir_out.dim) for p in paths
    ]
    return np.stack(invariants, axis=-1)


B = bispectrum(a, b, d)
odd = np.array([(p.ir1.l + p.ir2.l + p.ir_out.l) % 2 == 1 for p in paths])
print(B.shape, "of which odd in l1 + l2 + l3:", odd.sum())

# %%
# The same from complex coefficients (SciPy's convention) and exact 3j symbols. The real Clebsch-Gordan coefficients
# bear the phase :math:`(-i)^{l_1 + l_2 + l_3}`, up to which both are the same invariant.

complex_rows = [tp.convert(x[0], L_MAX, source="e3nn", target="scipy") for x in (a, b, d)]


def by_sympy(l1, l2, l3):
    """The invariant of the first atom, from its complex coefficients."""
    x, y, z = complex_rows
    total = 0.0
    for m1 in range(-l1, l1 + 1):
        for m2 in range(-l2, l2 + 1):
            if abs(m1 + m2) <= l3:
                symbol = float(wigner_3j(l1, l2, l3, m1, m2, -m1 - m2))
                total += symbol * x[l1**2 + l1 + m1] * y[l2**2 + l2 + m2] * z[l3**2 + l3 - m1 - m2]
    return total


expected = np.array([(-1j) ** (p.ir1.l + p.ir2.l + p.ir_out.l) * by_sympy(p.ir1.l, p.ir2.l, p.ir_out.l) for p in paths])
deviation = np.max(np.abs(B[0] - expected) / np.abs(expected))
print(f"greatest deviation from SymPy, each path by itself: {deviation:.1e}")
assert deviation < 1e-11

# %%
# Invariants under rotations; under reflections, odd paths change sign, so that the bispectrum tells a molecule from
# its mirror image, which the power spectrum cannot.

R = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
turned = bispectrum(*(tp.rotate(irreps, R, x) for x in (a, b, d)))
mirrored = bispectrum(*(tp.rotate(irreps, -R, x) for x in (a, b, d)))
np.testing.assert_allclose(turned, B, rtol=1e-10)
np.testing.assert_allclose(mirrored, np.where(odd, -B, B), rtol=1e-10)

figure, axis = plt.subplots(figsize=(7, 2.8), layout="constrained")
for label, values, marker in (("molecule", B[0], "o"), ("rotated", turned[0], "x"), ("mirrored", mirrored[0], "+")):
    axis.plot(values / np.abs(B[0]), marker, label=label, fillstyle="none", markersize=8)
axis.set(yticks=[-1, 1], ylabel="bispectrum / its size")
axis.set_xticks(range(len(paths)), [f"{p.ir1.l}{p.ir2.l}{p.ir_out.l}" for p in paths], rotation=90, fontsize=7)
axis.legend(loc="center right")
plt.show()

# %%
# Gradients with respect to positions follow from the chain rule: ``vjp`` of the product, the derivative of the radial
# integrals, and ``SphericalHarmonics.vjp``. If only even paths are wanted, and a weighted sum of them is enough, the
# Gaunt product makes them in :math:`O(L^3)` (see :doc:`/products`).
