"""Faults planted on purpose, one at a time, each of which the tests must notice: ``python tests/mutants.py [cuda]``.

Every mutant is a copy of the package with one line changed, on which a few test files run. It survives if they pass.
``cuda``: those in the kernels of the GPU and their launch, for which the tests need a C++ compiler.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


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
        "backends/blocks.py",
        "if n == 1 and m != 1)",
        "if n == 1 and m > 2)",
        "products/test_properties.py backends/test_pieces.py",
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
        "backends/cpu/solid_gradients.py",
        "value = runs.minus(value, runs.times(radial, (x, y, z)[axis]))",
        "pass",
        "backends/test_cpu_harmonics.py",
    ),
    Mutant(
        "a kernel's recursion one degree off",
        "backends/cpu/harmonics.py",
        "b * scale[degree] / scale[degree - 2]",
        "b * scale[degree] / scale[degree - 1]",
        "backends/test_cpu_harmonics.py",
    ),
    Mutant(
        "features rotated by the inverse",
        "sphere/rotations.py",
        "turned = xp.matmul(rows, xp.matrix_transpose(_matrix(setting, turns, ir.l)))",
        "turned = xp.matmul(rows, _matrix(setting, turns, ir.l))",
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
        "points that are their own reflection counted twice",
        "backends/cpu/orbits.py",
        "len(set(orbit)) / len(orbit)",
        "1.0",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "a sign of a reflection",
        "backends/cpu/small_products.py",
        "values[i | bit] = builder.fsub(first, second, flags=FLAGS)",
        "values[i | bit] = builder.fsub(second, first, flags=FLAGS)",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "a component whose only term is subtracted, added",
        "backends/cpu/field_planning.py",
        "weights = factors * signs[place[1]]",
        "weights = factors * abs(signs[place[1]])",
        "backends/test_cpu_fields.py",
    ),
    Mutant(
        "short rows joined in the wrong order",
        "backends/cpu/memory.py",
        "mask = [column * count + sample for sample in range(count) for column in range(size)]",
        "mask = [column * count + sample for column in range(size) for sample in range(count)]",
        "backends/test_cpu.py",
    ),
    Mutant(
        "auto takes the slowest method",
        "products/methods.py",
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

#: Faults in CUDA code, which the tests must notice without a GPU.
CUDA_MUTANTS = (
    Mutant(
        "a missing barrier between operations",
        "backends/gpu/program.cu",
        "            __syncthreads();\n        }\n        if (!summed) {",
        "        }\n        if (!summed) {",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "a missing barrier before the tile is loaded anew",
        "backends/gpu/program.cu",
        "tile.valid);\n            __syncthreads();\n",
        "tile.valid);\n",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "the last term of a sum left out",
        "backends/gpu/program.cu",
        "t < part[2]; ++t",
        "t < part[2] - 1; ++t",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "indices of a matrix product swapped",
        "backends/gpu/program.cu",
        "op[C] + i * op[C_I] + k * op[C_K]",
        "op[C] + k * op[C_I] + i * op[C_K]",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "a row too far when a tile is stored",
        "backends/gpu/program.cu",
        "rows[static_cast<long long>(sample) * stride + columns[column]]",
        "rows[static_cast<long long>(sample ? sample - 1 : 0) * stride + columns[column]]",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "sums over samples that forget the tiles before the last",
        "backends/gpu/program.cu",
        "if (summed) zero = false;",
        "",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "a scalar of the wrong type",
        "backends/gpu/launch.py",
        "np.int32(program.direct)",
        "np.int64(program.direct)",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "a scalar of a Python type, which CuPy passes as eight bytes",
        "backends/gpu/launch.py",
        "np.int32(summed)",
        "int(summed)",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "factors of a matrix product exchanged in a gradient",
        "backends/gpu/transform.py",
        "a, b = (at[2], n, 1), (at[1], 1, n)",
        "a, b = (at[2], n, 1), (at[1], n, 1)",
        "cuda_host/test_agrees.py",
    ),
    Mutant(
        "a missing barrier between the slices of a matrix product",
        "backends/gpu/staged.cu",
        "            }\n        }\n        __syncthreads();\n    }\n",
        "            }\n        }\n    }\n",
        "cuda_host/test_staged.py::test_large_plans",
    ),
    Mutant(
        "columns of a matrix product that are read where they are written",
        "backends/gpu/staged.cu",
        "column * task[STEP_FROM]",
        "column * task[STEP_TO]",
        "cuda_host/test_staged.py::test_every_kind",
    ),
    Mutant(
        "the last pairs of threads left out of a sum over samples",
        "backends/gpu/staged.cu",
        "half > 0; half /= 2",
        "half > 1; half /= 2",
        "cuda_host/test_staged.py::test_large_plans",
    ),
    Mutant(
        "components that are not reached left as they were",
        "backends/gpu/staged.py",
        "if not add and sum(",
        "if add and sum(",
        "cuda_host/test_staged.py::test_every_kind",
    ),
    Mutant(
        "a conjugate wave in the second step of a Fourier sum",
        "backends/gpu/chains.py",
        "np.stack([values.real, -values.imag], axis=1)",
        "np.stack([values.real, values.imag], axis=1)",
        "cuda_host/test_staged.py::test_fourier_sums_in_two_steps_are_those_in_one",
    ),
    Mutant(
        "samples of a piece that all are those of the first",
        "backends/gpu/staged_launch.py",
        "np.int64(first * stride)",
        "np.int64(0 * stride)",
        "cuda_host/test_staged.py::test_every_kind",
    ),
)


def survives(mutant: Mutant) -> str | None:
    """None if the tests noticed; otherwise what there is to say."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("tpnumba", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / "tpnumba" / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return f"{mutant.file} has {text.count(mutant.old)} times: {mutant.old}"
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        command += [f"tests/{name}" for name in mutant.tests.split()]
        environment = {**os.environ, "PYTHONPATH": folder}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode == 1 or done.returncode < 0:  # tests were run, and some failed, or one fell over
        return None
    return done.stdout[-2000:] + done.stderr[-2000:]


def main(which: str = "") -> int:
    """Run all mutants; return how many the tests did not notice."""
    mutants = CUDA_MUTANTS if which == "cuda" else MUTANTS
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutant, said in zip(mutants, pool.map(survives, mutants), strict=True):
            print(f"{'noticed ' if said is None else 'SURVIVED'}  {mutant.what}", flush=True)
            if said is not None:
                survivors += 1
                print(said, file=sys.stderr)
    print(f"{len(mutants) - survivors} passed, {survivors} failed")
    return survivors


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
