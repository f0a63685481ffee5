"""Real spherical harmonics of points, and their derivatives by the points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tpnumba.backends import evaluate
from tpnumba.backends.adapters.graphs import call_as_node, is_compiling, register_operator
from tpnumba.backends.call import Call
from tpnumba.backends.namespaces import Context, check_out, common_context, require_result
from tpnumba.backends.prepared import Evaluated, PreparedCalls
from tpnumba.backends.registry import check_backend, resolve_threads
from tpnumba.inline.cuda import cuda_source
from tpnumba.inline.recipes import HarmonicsRecipe
from tpnumba.irreps import Irreps, check_degree
from tpnumba.plans.base import dtype_name
from tpnumba.plans.harmonics import KINDS, Harmonics
from tpnumba.products.clebsch_gordan import TensorProduct
from tpnumba.products.instructions import check_choice
from tpnumba.tables.couplings import NORMALIZATIONS, harmonic_scale

if TYPE_CHECKING:
    from tpnumba.inline.kernel import NumbaKernel

Array = Any


class SphericalHarmonics:
    """Real spherical harmonics of degrees 0 to ``lmax``, in e3nn's convention (polar axis y, no Condon-Shortley sign).

    Args:
        lmax: the largest degree.
        normalization: ``integral`` (orthonormal), ``component`` (``|Y_l|^2 = 2 l + 1``) or ``norm`` (``|Y_l|^2 = 1``).
        normalize: if True, of the direction ``r / |r|``; if False, solid harmonics ``|r|^l Y(r / |r|)``, polynomials.

    At ``r = 0`` the normalised harmonics are their constant for l = 0, and zero above; their gradient is zero.

    The gradient of a solid harmonic of degree l is a sum of at most two of degree ``l - 1`` for each of x, y, z; so
    :meth:`vjp`, :meth:`jvp` and :meth:`value_and_jacobian` cost little more than the values, and :meth:`derivative`
    gives derivatives of any order. (Tensors of torch and arrays of jax may be differentiated by these as well.)

    Raises:
        TypeError, ValueError: a degree or name that is malformed.

    Example:
        >>> import numpy as np
        >>> Y = SphericalHarmonics(1, normalization="norm")
        >>> Y(np.array([0.0, 3.0, 4.0]))
        array([1. , 0. , 0.6, 0.8])
    """

    lmax: int
    normalization: str
    normalize: bool
    _prepared: Mapping[str, PreparedCalls]

    def __init__(self, lmax: int, *, normalization: str = "integral", normalize: bool = True) -> None:
        fields = {
            "lmax": check_degree("lmax", lmax),
            "normalization": check_choice("normalization", normalization, NORMALIZATIONS),
            "normalize": normalize,
        }
        if not isinstance(normalize, bool):
            raise TypeError(f"normalize must be True or False, got {normalize!r}")
        number, prepared = register_operator(self, tuple(fields.values())), {kind: PreparedCalls() for kind in KINDS}
        self.__dict__.update(fields, _number=number, _prepared=prepared)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"SphericalHarmonics is frozen; cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SphericalHarmonics) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, self._key

    def __repr__(self) -> str:
        return f"SphericalHarmonics({self.lmax}, normalization={self.normalization!r}, normalize={self.normalize})"

    @property
    def irreps(self) -> Irreps:
        """The irreps of the result."""
        return Irreps.spherical_harmonics(self.lmax)

    @property
    def _key(self) -> tuple[int, str, bool]:
        return self.lmax, self.normalization, self.normalize

    def __call__(
        self, xyz: Array, *, out: Array | None = None, backend: str = "auto", num_threads: int | None = None
    ) -> Array:
        """Evaluate at points.

        Args:
            xyz: shape ``(..., 3)``, float32 or float64.
            out: an array of the result's shape and dtype to write into; must not overlap ``xyz``.
            backend, num_threads: as for products. ``cpu`` has no kernel for float32 above degree 192, where float32 is
                too narrow, nor where the harmonics of a few points take more than 32 MB; ``gpu`` has none above degree
                1,100 or so, where those of one point leave no room. There ``auto`` turns to ``generic``.

        Returns:
            Shape ``(..., (lmax + 1)**2)``: degree by degree, orders from -l to l.

        Raises:
            TypeError, ValueError, MemoryError, RuntimeError: as for products.
        """
        if is_compiling():
            return call_as_node(self, "__call__", (xyz,), {}, backend, out)
        inputs = (xyz,)
        if (found := self._prepared["values"].evaluate(inputs, out, backend, num_threads)) is not None:
            return found[0]
        call = self._call("values", {"xyz": xyz}, backend, num_threads, out)
        return self._noted(call, inputs, evaluate(call, inputs, out), out, num_threads)[0]

    def value_and_jacobian(
        self, xyz: Array, *, backend: str = "auto", num_threads: int | None = None
    ) -> tuple[Array, Array]:
        """The harmonics and their derivatives by x, y and z.

        Args:
            xyz: shape ``(..., 3)``, float32 or float64.
            backend, num_threads: as for the call.

        Returns:
            Values ``(..., (lmax + 1)**2)`` and Jacobian ``(..., (lmax + 1)**2, 3)``; in units of one over those of
            ``xyz``, if ``xyz`` has any.

        Raises:
            TypeError, ValueError, MemoryError, RuntimeError: as for products.

        Example:
            >>> import numpy as np
            >>> values, jacobian = SphericalHarmonics(1, normalization="norm").value_and_jacobian(np.array([0.0, 0, 2]))
            >>> jacobian[1:] + 0.0
            array([[0.5, 0. , 0. ],
                   [0. , 0.5, 0. ],
                   [0. , 0. , 0. ]])
        """
        if is_compiling():
            return tuple(call_as_node(self, "value_and_jacobian", (xyz,), {}, backend))
        inputs = (xyz,)
        if (found := self._prepared["value_and_jacobian"].evaluate(inputs, None, backend, num_threads)) is None:
            call = self._call("value_and_jacobian", {"xyz": xyz}, backend, num_threads, None)
            found = self._noted(call, inputs, evaluate(call, inputs), None, num_threads)
        values, jacobian = found
        return values, jacobian

    def vjp(self, xyz: Array, cotangent: Array, *, backend: str = "auto", num_threads: int | None = None) -> Array:
        """The gradient of ``<cotangent, Y(xyz)>`` with respect to the points.

        Args:
            xyz: shape ``(..., 3)``.
            cotangent: shape ``(..., (lmax + 1)**2)``, with the same leading axes.
            backend, num_threads: as for the call.

        Returns:
            Shape ``(..., 3)``.

        Raises:
            TypeError, ValueError, RuntimeError: as for products.
        """
        if is_compiling():
            return call_as_node(self, "vjp", (xyz, cotangent), {}, backend)
        inputs = (xyz, cotangent)
        if (found := self._prepared["vjp"].evaluate(inputs, None, backend, num_threads)) is not None:
            return found[0]
        call = self._call("vjp", {"xyz": xyz, "cotangent": cotangent}, backend, num_threads, None)
        return self._noted(call, inputs, evaluate(call, inputs), None, num_threads)[0]

    def jvp(self, xyz: Array, tangent: Array, *, backend: str = "auto", num_threads: int | None = None) -> Array:
        """The derivative of ``Y(xyz)`` along a tangent.

        Args:
            xyz: shape ``(..., 3)``.
            tangent: of the shape of ``xyz``.
            backend, num_threads: as for the call.

        Returns:
            Shape ``(..., (lmax + 1)**2)``.

        Raises:
            TypeError, ValueError, MemoryError, RuntimeError: as for products.
        """
        if is_compiling():
            return call_as_node(self, "jvp", (xyz, tangent), {}, backend)
        inputs = (xyz, tangent)
        if (found := self._prepared["jvp"].evaluate(inputs, None, backend, num_threads)) is not None:
            return found[0]
        call = self._call("jvp", {"xyz": xyz, "tangent": tangent}, backend, num_threads, None)
        return self._noted(call, inputs, evaluate(call, inputs), None, num_threads)[0]

    def derivative(self) -> tuple[SphericalHarmonics, TensorProduct]:
        """Solid harmonics ``S`` of one degree less, and a product ``p`` with ``jvp(xyz, t) = p(S(xyz), t)``.

        As ``p`` is bilinear, with adjoints, and the derivative of ``S`` is known in the same way, derivatives of any
        order follow by the product rule: along t and u, the second one is ``p(S.jvp(xyz, u), t)``.

        ``dS_lm / dx_c = (2 l + 1) sqrt(l) sum over m' of C(l - 1, 1, l)[m', c, m] S_{l-1,m'}`` for orthonormal ones.

        Raises:
            ValueError: harmonics of directions, which are no polynomials: theirs are those of solid harmonics at
                ``r / |r|``, by the chain rule.

        Example:
            >>> import numpy as np
            >>> lower, p = SphericalHarmonics(2, normalize=False).derivative()
            >>> r, t = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.0, -0.1])
            >>> bool(np.allclose(p(lower(r), t), SphericalHarmonics(2, normalize=False).jvp(r, t)))
            True
        """
        if self.normalize:
            raise ValueError("normalize must be False for an operator of the derivative, got harmonics of directions")
        lower = SphericalHarmonics(max(self.lmax - 1, 0), normalization=self.normalization, normalize=False)
        instructions = []
        for n in range(1, self.lmax + 1):
            scale = harmonic_scale(self.normalization, n) / harmonic_scale(self.normalization, n - 1)
            instructions.append((n - 1, 0, n, "uuu", False, (scale * (2 * n + 1)) ** 2 * n))
        product = TensorProduct(
            lower.irreps,
            "1o",
            self.irreps,
            instructions,
            irrep_normalization="none",
            path_normalization="none",
        )
        return lower, product

    def numba_kernel(self, dtype: Any = "float64") -> NumbaKernel:
        """The harmonics of one point, for loops of your own that Numba compiles: ``kernel(out, point)``.

        As for products, see :meth:`tpnumba.TensorProduct.numba_kernel`. ``point`` has x, y and z, ``out`` the harmonics
        degree by degree. Up to degree 10 they are straight-line code.

        Args:
            dtype: ``float64`` or ``float32``, of both arrays and of the arithmetic.

        Raises:
            TypeError: another dtype.
            ValueError: a degree above 256, or, in float32, above 192, where its numbers are too narrow.

        Example:
            >>> import numba, numpy as np, tpnumba as tp
            >>> kernel = tp.SphericalHarmonics(2).numba_kernel()
            >>> @numba.njit
            ... def density(vectors):
            ...     out, total = np.empty(9), np.zeros(9)
            ...     for vector in vectors:
            ...         kernel(out, vector)
            ...         total += np.exp(-np.sum(vector**2)) * out
            ...     return total
            >>> density(np.random.default_rng(0).standard_normal((20, 3))).shape
            (9,)
        """
        from tpnumba.inline.kernel import kernel_of

        return kernel_of(HarmonicsRecipe(*self._key), dtype_name(dtype))

    def cuda_source(self, dtype: Any = "float32", *, name: str = "spherical_harmonics") -> str:
        """The harmonics of one point as CUDA: ``__device__ void name(T* out, const T* point)``.

        As for products, see :meth:`tpnumba.TensorProduct.cuda_source`.

        Args:
            dtype: ``float32`` or ``float64``, of both arrays and of the arithmetic.
            name: of the function.

        Raises:
            TypeError: another dtype.
            ValueError: no identifier, or a degree that is too high (see :meth:`numba_kernel`).

        Example:
            >>> import tpnumba as tp
            >>> print(*tp.SphericalHarmonics(2).cuda_source("float64", name="Y").splitlines()[1:3], sep="\\n")
            __device__ __forceinline__ void Y(
                double* __restrict__ out, const double* __restrict__ point) {
        """
        return cuda_source(HarmonicsRecipe(*self._key), dtype_name(dtype), name)

    def _noted(
        self,
        call: Call,
        inputs: tuple[Array, ...],
        results: Sequence[Array],
        out: Array | None,
        num_threads: int | None,
    ) -> Sequence[Array]:
        """The results of a call, which is noted."""
        plan = call.methods
        assert isinstance(plan, Harmonics)
        places = range(len(inputs))
        self._prepared[plan.kind].note([Evaluated(call, inputs, places)], inputs, results, out, num_threads)
        return results

    def _call(
        self, kind: str, named: dict[str, Array], backend: str, num_threads: int | None, out: Array | None
    ) -> Call:
        """The call for checked arguments."""
        context, plan = common_context(named), _plan(*self._key, kind)
        check_backend(backend)
        threads = resolve_threads(num_threads)
        shapes = _check_shapes(plan, named)
        if out is not None:
            check_out(out, shapes[0], context, named)
        else:
            _require_results(shapes, context)
        samples = tuple(named["xyz"].shape[:-1])
        return Call(plan, tuple(range(len(named))), samples, samples, context, backend, threads, tuple(named))


def _rebuild(lmax: int, normalization: str, normalize: bool) -> SphericalHarmonics:
    return SphericalHarmonics(lmax, normalization=normalization, normalize=normalize)


@lru_cache(maxsize=256)
def _plan(lmax: int, normalization: str, normalize: bool, kind: str) -> Harmonics:
    """One object for equal plans, on which what is known about them is kept."""
    return Harmonics(lmax, normalization, normalize, kind)


def _check_shapes(plan: Harmonics, named: dict[str, Array]) -> list[tuple[int, ...]]:
    """The shapes of the results."""
    xyz = named["xyz"]
    if xyz.ndim == 0 or xyz.shape[-1] != 3:
        raise ValueError(f"xyz must have shape (..., 3), got {tuple(xyz.shape)}")
    leading = tuple(xyz.shape[:-1])
    for (name, array), size in zip(named.items(), plan.input_sizes, strict=True):
        if tuple(array.shape) != (*leading, size):
            raise ValueError(f"{name} must have shape {(*leading, size)}, got {tuple(array.shape)}")
    return [(*leading, *core) for core in plan.result_shapes]


def _require_results(shapes: list[tuple[int, ...]], context: Context) -> None:
    for shape in shapes:
        require_result(shape, context)
