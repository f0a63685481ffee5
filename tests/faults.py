"""Faults that are planted on purpose: one line of the package changed, and the tests that must notice it."""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """Replace ``old``, which stands once in ``file``, by ``new``; ``tests`` must fail."""

    what: str
    file: str
    old: str
    new: str
    tests: str


MUTANTS = (
    Mutant(
        "a sign of the Clebsch-Gordan coefficients",
        "tables/clebsch_gordan.py",
        "s3 = np.where(mu1 > mu2, -1, 1)",
        "s3 = np.where(mu1 > mu2, 1, -1)",
        "tables/test_clebsch_gordan.py",
    ),
    Mutant(
        "a missing sqrt2 of the Clebsch-Gordan coefficients",
        "tables/clebsch_gordan.py",
        "norm = np.where((mu1 > 0) & (mu2 > 0) & (mu3 > 0), np.sqrt(0.5), 1.0)",
        "norm = np.where((mu1 > 0) & (mu2 > 0) & (mu3 > 0), 1.0, 1.0)",
        "tables/test_clebsch_gordan.py",
    ),
    Mutant(
        "a missing sqrt2 of the orders that are not zero",
        "plans/stages.py",
        "_frozen(matrix * (1.0 if m == 0 else sqrt(2)))",
        "_frozen(matrix * (1.0 if m <= 1 else sqrt(2)))",
        "products/test_gaunt.py",
    ),
    Mutant(
        "an off-by-one in n_alpha",
        "tables/quadrature.py",
        "return cls(degree // 2 + 1, fast_length(degree + 1))",
        "return cls(degree // 2 + 1, fast_length(degree))",
        "tables/test_quadrature.py",
    ),
    Mutant(
        "an off-by-one in the longitudes of a product",
        "products/degrees.py",
        "degree + 1 + (degree + 1) % 2",
        "degree + degree % 2",
        "products/test_gaunt.py",
    ),
    Mutant(
        "an off-by-one in n_beta",
        "products/degrees.py",
        "degree // 2 + 1 if n_beta is None",
        "(degree + 1) // 2 if n_beta is None",
        "products/test_gaunt.py",
    ),
    Mutant(
        "an off-by-one in n_alpha of the bracket",
        "products/bracket.py",
        "grid = product_grid(total - 1, (total + 1) // 2)",
        "grid = product_grid(total - 3, (total + 1) // 2)",
        "products/test_bracket.py",
    ),
    Mutant(
        "an off-by-one in the length of the doubled circle",
        "products/gaunt.py",
        "fast_length(2 * product + 1), ",
        "fast_length(2 * product), ",
        "products/test_gaunt.py",
    ),
    Mutant(
        "a sign in the bracket",
        "products/bracket.py",
        "_TERMS = (((0, 1, 0), 1.0), ((1, 0, 0), -1.0))",
        "_TERMS = (((0, 1, 0), 1.0), ((1, 0, 0), 1.0))",
        "products/test_bracket.py",
    ),
    Mutant(
        "the bracket's clamp one degree too high",
        "products/bracket.py",
        "highest = highest_degrees(irreps, slack=1)",
        "highest = highest_degrees(irreps, slack=2)",
        "products/test_bracket.py",
    ),
    Mutant(
        "a sign of the matrix product",
        "tables/couplings.py",
        "return (-1.0 if l3 % 2 else 1.0) * wigner_6j",
        "return wigner_6j",
        "products/test_matrix.py",
    ),
    Mutant(
        "factors of the matrix product exchanged in a gradient",
        "backends/generic/transform.py",
        "product = xp.matmul(square[2], xp.matrix_transpose(square[1]))",
        "product = xp.matmul(square[2], square[1])",
        "products/test_properties.py",
    ),
    Mutant(
        "a sign of the cross product",
        "products/vector_spherical.py",
        "(order, 1.0 if order in even else -1.0)",
        "(order, 1.0)",
        "products/test_vector_spherical.py",
    ),
    Mutant(
        "a sign of the dot product's couplings",
        "tables/couplings.py",
        "sign = 1.0 if (l2 + j2) % 2 else -1.0",
        "sign = 1.0",
        "products/test_vector_spherical.py",
    ),
    Mutant(
        "the output's normalisation applied the wrong way",
        "plans/stages.py",
        "DegreeScaling(degrees, normalization, inverse=output)",
        "DegreeScaling(degrees, normalization, inverse=False)",
        "products/test_gaunt.py",
    ),
    Mutant(
        "a sine that is its negative in the fast transform's transpose",
        "backends/generic/stages.py",
        "both = xp.concat([xp.real(spectrum), -xp.imag(spectrum)], axis=1)",
        "both = xp.concat([xp.real(spectrum), xp.imag(spectrum)], axis=1)",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "the path weight outside the square root",
        "products/instructions.py",
        "sqrt(square * variances[2][ins.i_out] * ins.path_weight / (met if met > 0 else 1.0))",
        "ins.path_weight * sqrt(square * variances[2][ins.i_out] / (met if met > 0 else 1.0))",
        "products/test_clebsch_gordan.py",
    ),
    Mutant(
        "weights of uvw read in another order",
        "products/instructions.py",
        '"uvw": "u,v,uvw,w",',
        '"uvw": "u,v,vuw,w",',
        "products/test_clebsch_gordan.py",
    ),
    Mutant(
        "the pairs u < v counted with the diagonal",
        "backends/generic/contraction.py",
        "np.flatnonzero(_pair_places(n) < n * (n - 1) // 2)",
        "np.flatnonzero(_pair_places(n) <= n * (n - 1) // 2)",
        "products/test_properties.py",
    ),
    Mutant(
        "a gradient not summed over what was broadcast",
        "backends/portions.py",
        "if n == 1 and m != 1)",
        "if n == 1 and m > 2)",
        "products/test_properties.py backends/test_batching.py",
    ),
    Mutant(
        "harmonics with the order's sign exchanged",
        "backends/generic/harmonics.py",
        "xp.concat([ends[0], raised, ends[1]], axis=1)",
        "xp.concat([ends[1], raised, ends[0]], axis=1)",
        "sphere/test_harmonics.py",
    ),
    Mutant(
        "a tile's gradients with their radial part",
        "backends/cpu/harmonics/gradients.py",
        "value = emit.minus(value, emit.times(radial, (x, y, z)[axis]))",
        "pass",
        "backends/test_cpu_harmonics.py",
    ),
    Mutant(
        "a kernel's recursion one degree off",
        "backends/cpu/harmonics/lower.py",
        "b * scale[degree] / scale[degree - 2]",
        "b * scale[degree] / scale[degree - 1]",
        "backends/test_cpu_harmonics.py",
    ),
    Mutant(
        "features rotated by the inverse",
        "sphere/rotations.py",
        "turned = xp.matmul(rows, xp.matrix_transpose(_matrix(context, turns, ir.l)))",
        "turned = xp.matmul(rows, _matrix(context, turns, ir.l))",
        "sphere/test_rotations.py",
    ),
    Mutant(
        "the parity of rotoinversions forgotten",
        "sphere/rotations.py",
        "return improper_signs if parity == -1 else",
        "return improper_signs if parity == 0 else",
        "sphere/test_rotations.py",
    ),
    Mutant(
        "SHTools' complex harmonics with the Condon-Shortley sign",
        "tables/conventions.py",
        "replace(self, is_complex=True, condon_shortley=False)",
        "replace(self, is_complex=True, condon_shortley=True)",
        "sphere/test_conventions.py",
    ),
    Mutant(
        "the halves of the Gaunt and bracket products exchanged",
        "products/sphere.py",
        "couplings[k // len(out)]",
        "couplings[-1 - k // len(out)]",
        "products/test_bracket.py",
    ),
    Mutant(
        "released places of a tile that are not joined",
        "backends/lowering/arena.py",
        "if last + size == begin:",
        "if last + size == begin + 1:",
        "backends/lowering/test_arena.py",
    ),
    Mutant(
        "an array of a table whose place in memory another may take",
        "backends/lowering/constants.py",
        "self.append(array), array\n",
        "self.append(array), np.zeros(0)\n",
        "backends/lowering/test_constants.py",
    ),
    Mutant(
        "the scaling in front of a matrix forgotten where it is sparse",
        "backends/lowering/matrices.py",
        "table.values * factors[columns]",
        "table.values",
        "backends/lowering/test_matrices.py",
    ),
    Mutant(
        "one of two selections in a row forgotten",
        "backends/lowering/linear_maps.py",
        "start, factors = start + stage.start,",
        "start, factors = stage.start,",
        "backends/lowering/test_linear_maps.py",
    ),
    Mutant(
        "orders of a wrong parity in longitude",
        "backends/lowering/parity.py",
        "sine + 2 * (order % 2)",
        "sine + 2 * (order_index % 2)",
        "backends/lowering/test_linear_maps.py",
    ),
    Mutant(
        "points that are their own reflection counted twice",
        "backends/lowering/parity.py",
        "len(set(mirrors)) / len(mirrors)",
        "1.0",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "a sign of a reflection",
        "backends/cpu/simd/small_products.py",
        "values[i | bit] = emit.minus(first, second)",
        "values[i | bit] = emit.minus(second, first)",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "a component whose only term is subtracted, added",
        "backends/cpu/transform/lower.py",
        "weights = factors * signs[place[1]]",
        "weights = factors * abs(signs[place[1]])",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "short rows joined in the wrong order",
        "backends/cpu/simd/memory.py",
        "mask = [column * count + sample for sample in range(count) for column in range(size)]",
        "mask = [column * count + sample for column in range(size) for sample in range(count)]",
        "backends/test_cpu.py",
    ),
    Mutant(
        "auto takes the slowest method",
        "plans/methods.py",
        "return min(self.plans, key=",
        "return max(self.plans, key=",
        "products/test_gaunt.py",
    ),
    Mutant(
        "expressivity without the weights of the product",
        "measures/expressivity.py",
        "np.add.at(block, start3[-1] + k[own], (value * read)[own, None, None] * pairs[own])",
        "np.add.at(block, start3[-1] + k[own], 0 * (value * read)[own, None, None] * pairs[own])",
        "measures/test_measures.py",
    ),
)
