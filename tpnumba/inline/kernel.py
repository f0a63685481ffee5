"""The object that compiled functions of Numba call; imported when the first is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from threading import Lock
from typing import Any, cast

import numba
from llvmlite import ir
from numba import extending
from numba.core import cgutils, errors, imputils, types, typing
from numba.core.registry import CPUDispatcher

from tpnumba.inline.llvm import LlvmEmitter, Shape
from tpnumba.inline.recipes import KINDS, Recipe, digest, kind_of

#: Numba's own, which are annotated in part.
_extending: Any = extending
_imputils: Any = imputils
_typing: Any = typing
_types: Any = types
#: Every kernel that this process has made, by its digest.
_KERNELS: dict[str, NumbaKernel] = {}
_LOCK = Lock()
#: A name by which Numba knows that machine code is of no use to other processes.
_DYNAMIC = "numba.dynamic.globals.tpnumba"


class NumbaKernel:
    """A product, or harmonics, of one sample: a function for the compiled functions of Numba; see ``numba_kernel``.

    Made by :meth:`tpnumba.TensorProduct.numba_kernel` and its like. Frozen; hashable, comparable and picklable.

    Attributes:
        dtype: of all arrays, ``float32`` or ``float64``.
        names: of the arguments, in their order.
        sizes: how many numbers each has.
    """

    dtype: str
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    digest: str

    def __init__(self, recipe: Recipe, dtype: str) -> None:
        fields = {
            "dtype": dtype,
            "names": ("out", *recipe.names[:-1]),
            "sizes": (recipe.sizes[-1], *recipe.sizes[:-1]),
            "digest": digest(recipe, dtype),
            "_recipe": recipe,
        }
        self.__dict__.update(fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"NumbaKernel is frozen; cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumbaKernel) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Numba hashes what a cached function closes over by its pickle: a text, the same in every process.
        recipe = self.__dict__["_recipe"]
        return _restored, (kind_of(recipe), recipe.text, self.dtype, self.digest)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}: {size}" for name, size in zip(self.names, self.sizes, strict=True))
        return f"NumbaKernel({arguments}; {self.dtype}; {self.__dict__['_recipe'].described})"

    def __call__(self, *arrays: Any) -> None:
        """Evaluate one sample from the interpreter, as a compiled function does.

        Raises:
            TypeError: other arguments than one-dimensional arrays of the dtype, as many as ``names``.
            ValueError: arrays of other sizes than ``sizes``.
        """
        try:
            _CALLS[len(arrays)](self, *arrays)
        except (KeyError, errors.TypingError) as error:
            raise TypeError(str(check(self, tuple(map(numba.typeof, arrays))) or error)) from None

    def emit(self, module: ir.Module, shapes: tuple[Shape, ...]) -> ir.Function:
        """The function in a module, written once for arrays of these shapes, which are those of ``names``."""
        how = "".join("sc"[shape.is_contiguous] + "ua"[shape.is_aligned] for shape in shapes)
        name = f"tpnumba_{self.digest}_{how}"
        known = module.globals.get(name)
        if known is not None:
            return known
        emit = LlvmEmitter(module, name, self.dtype, (*shapes[1:], shapes[0]))
        self.__dict__["_recipe"].emit(emit)
        emit.finish()
        return emit.function


@lru_cache(maxsize=512)
def kernel_of(recipe: Recipe, dtype: str) -> NumbaKernel:
    """The kernel, the same object for equal ones; what was not there before becomes known to Numba."""
    recipe.check(dtype)
    made = NumbaKernel(recipe, dtype)
    with _LOCK:
        known = _KERNELS.get(made.digest)
        if known is not None:
            return known
        _extending.lower_builtin(made.digest, _types.VarArg(_types.Any))(_lowering(made))
        _KERNELS[made.digest] = made
    return made


def _restored(kind: str, text: str, dtype: str, expected: str) -> NumbaKernel:
    known = _KERNELS.get(expected)
    return known or kernel_of(KINDS[kind].of_text(text), dtype)


class KernelType(types.Callable, types.Opaque):
    """What Numba knows of a kernel: its digest, so that no two kernels share what is compiled with one of them."""

    def __init__(self, digest: str) -> None:
        self.digest = digest
        super().__init__(f"tpnumba.NumbaKernel({digest})")

    def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:  # noqa: ARG002
        """The signature for these types of arguments, or an error that names one."""
        if kws:
            raise errors.TypingError(f"a kernel takes no keywords, got {', '.join(kws)}")
        error = check(_KERNELS[self.digest], args)
        if error:
            raise errors.TypingError(error)
        return _typing.signature(types.none, *args)

    def get_call_signatures(self) -> tuple[Any, ...]:
        """There are many."""
        return (), True

    def get_impl_key(self, sig: Any) -> str:  # noqa: ARG002
        """What the lowering is filed under."""
        return self.digest


_extending.register_model(KernelType)(_extending.models.OpaqueModel)


def _typeof(kernel: NumbaKernel, _: Any) -> KernelType:
    return KernelType(kernel.digest)


def _unboxed(_: Any, __: Any, c: Any) -> Any:
    return _extending.NativeValue(c.context.get_dummy_value())


def _constant(context: Any, *_: Any) -> Any:
    return context.get_dummy_value()


_extending.typeof_impl.register(NumbaKernel)(_typeof)
_extending.unbox(KernelType)(_unboxed)
_imputils.lower_constant(KernelType)(_constant)


def check(kernel: NumbaKernel, args: tuple[Any, ...]) -> str | None:
    """What is wrong with the types of arguments; None if nothing is."""
    names = ", ".join(kernel.names)
    if len(args) != len(kernel.names):
        return f"the kernel takes {len(kernel.names)} arguments ({names}), got {len(args)}"
    for name, kind in zip(kernel.names, args, strict=True):
        is_array = isinstance(kind, types.Array) and kind.ndim == 1 and str(kind.dtype) == kernel.dtype
        if not is_array:
            return f"{name} must be a one-dimensional array of {kernel.dtype}, got {kind}"
        if name == "out" and not kind.mutable:
            return f"out must be an array that can be written, got {kind}"
    return None


class _Witness:
    """Goes with machine code into Numba's cache, and stands up when this is read.

    Numba takes globals for constants, and does not see that a cached function has another one now. So the witness knows
    which kernel the code has inside, and which globals were that kernel. If the process that reads it has no such
    kernel, or another under one of these names, the witness cannot be read either: as if its file were gone, on which
    Numba compiles anew.
    """

    def __init__(self, kernel: NumbaKernel) -> None:
        self._digest = kernel.digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Witness) and self._digest == other._digest

    def __call__(self) -> None:
        """Called by Numba once the code is there; nothing is left to do."""

    def __reduce__(self) -> tuple[Any, ...]:
        names = tuple(
            (module, name)
            for module, found in sorted(sys.modules.items())
            for name, value in _globals(found).items()
            if type(value) is NumbaKernel and value.digest == self._digest
        )
        return _read_witness, (self._digest, names)


def _globals(module: object) -> dict[str, object]:
    """The globals of a module, looked at so that one which is loaded when it is first used is not."""
    try:
        return dict(object.__getattribute__(module, "__dict__"))
    except AttributeError:
        return {}


def _read_witness(digest: str, names: tuple[tuple[str, str], ...]) -> _Witness:
    known = _KERNELS.get(digest)
    for module, name in names:
        value = _globals(sys.modules.get(module)).get(name)
        if type(value) is NumbaKernel and value.digest != digest:
            known = None
    if known is None:
        raise FileNotFoundError(f"machine code with the kernel {digest}, which is not the one in use")
    return _Witness(known)


def _leave_witness(context: Any, module: ir.Module, kernel: NumbaKernel) -> None:
    """Let a witness go wherever the machine code of this module goes."""
    library = context.active_code_library
    if hasattr(library, "_reload_init"):  # called after loading; handed on to whatever the code is linked into
        library._reload_init.add(_Witness(kernel))
    elif context.environment.can_cache():  # Numba before 0.63: with the objects of the function
        context.environment.consts.append(_Witness(kernel))
        context.declare_env_global(module, context.get_env_name(context.fndesc))
    elif _DYNAMIC not in module.globals:  # and bodies of parallel loops have none: Numba says that it caches nothing
        mark = ir.GlobalVariable(module, ir.IntType(8), _DYNAMIC)
        mark.initializer, mark.linkage = ir.Constant(ir.IntType(8), 0), "weak"


def _lowering(kernel: NumbaKernel) -> Callable[..., Any]:
    """How Numba writes a call of a kernel: sizes are compared, then the function is called."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pairs = []
        for name, size, kind, value in zip(kernel.names, kernel.sizes, sig.args, args, strict=True):
            array = context.make_array(kind)(context, builder, value)
            count = builder.extract_value(array.shape, 0)
            wrong = builder.icmp_signed("!=", count, ir.Constant(count.type, size))
            with builder.if_then(wrong, likely=False):
                context.call_conv.return_user_exc(builder, ValueError, (f"{name} must have shape ({size},)",))
            pairs.append((builder.bitcast(array.data, cgutils.voidptr_t), builder.extract_value(array.strides, 0)))
        shapes = tuple(Shape(kind.layout in "CF", kind.aligned) for kind in sig.args)
        function = kernel.emit(builder.module, shapes)
        _leave_witness(context, builder.module, kernel)
        builder.call(function, [number for pair in (*pairs[1:], pairs[0]) for number in pair])
        return context.get_dummy_value()

    return lower


def _compiled(function: Callable[..., None]) -> Callable[..., None]:
    """As ``numba.njit`` does, also where ``NUMBA_DISABLE_JIT`` lets the interpreter run the functions of users."""
    dispatcher: Any = CPUDispatcher
    return cast(Callable[..., None], dispatcher(function, targetoptions={"nopython": True}))


@_compiled
def _call_two(kernel: Any, out: Any, point: Any) -> None:
    kernel(out, point)


@_compiled
def _call_three(kernel: Any, out: Any, x1: Any, x2: Any) -> None:
    kernel(out, x1, x2)


@_compiled
def _call_four(kernel: Any, out: Any, x1: Any, x2: Any, weights: Any) -> None:
    kernel(out, x1, x2, weights)


_CALLS = {2: _call_two, 3: _call_three, 4: _call_four}
