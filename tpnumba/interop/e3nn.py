"""Modules of e3nn as operators and layers of this package, with their weights as NumPy arrays.

What a module computes is read off the module: the factors of its paths, the signs of its Clebsch-Gordan coefficients,
the scales of its activations. So nothing depends on the version of e3nn that made it, from 0.4 on. Of torch nothing is
imported but where an activation is recognised, and of e3nn nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isclose, sqrt
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tpnumba import nn
from tpnumba.irreps import Irreps
from tpnumba.nn.activations import ACTIVATIONS
from tpnumba.nn.linear import PATH_NORMALIZATIONS
from tpnumba.products.clebsch_gordan import TensorProduct
from tpnumba.sphere.harmonics import SphericalHarmonics
from tpnumba.tables.clebsch_gordan import relative_sign

Array = npt.NDArray[np.floating]

#: Where an activation is compared with those of this package, and how far its values may be from theirs.
_POINTS = np.linspace(-9.75, 9.75, 79)
_SAME = 1e-12
#: How far coefficients of a dtype may be from those of this package; in float64 they may have been of float32 before.
_ROUNDED = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-2, "bfloat16": 1e-2}


class Converted(NamedTuple):
    """An operator that stands for a module, and the weights that the module holds.

    ``operator`` is a product, spherical harmonics, or a layer of :mod:`tpnumba.nn`. ``weights``, of shape
    ``(operator.weight_numel,)``, and ``biases`` are None if there are none, or if they are given at each call.
    """

    operator: Any
    weights: Array | None = None
    biases: Array | None = None


def from_e3nn(module: Any) -> Converted:
    """The operator that computes what a module of e3nn does, and the weights of the module.

    Called on NumPy arrays, it gives the module's numbers up to rounding, and ``vjp`` its gradients:

    - of ``o3.TensorProduct`` and the classes derived from it, a :class:`tpnumba.TensorProduct`: ``p(x1, x2, weights)``;
      for ``o3.TensorSquare``, which is a product of a feature with itself, ``p(x, x, weights)``;
    - of ``o3.Linear``, a :class:`tpnumba.nn.Linear`: ``linear(x, weights, biases)``;
    - of ``o3.SphericalHarmonics``, :class:`tpnumba.SphericalHarmonics`: ``harmonics(xyz)``;
    - of ``nn.Gate``, a :class:`tpnumba.nn.Gate`: ``gate(x)``;
    - of ``nn.Activation`` with one function for all scalars, a :class:`tpnumba.nn.Activation`: ``f(x)``;
    - of ``nn.FullyConnectedNet``, a :class:`tpnumba.nn.MLP`: ``mlp(x, weights)``.

    Weights stand in e3nn's order; those that are given at each call, shared or one set a sample, are given to the
    operator as to the module. Where the coefficients of a product have another sign than today's, as some had in e3nn
    before version 0.5, the path weight of that instruction is negative. Variances of a ``FullyConnectedNet`` other than
    1 are multiplied into its weights.

    Args:
        module: on any device. Weights are copied; those of float16 and bfloat16 come in float32, which holds them
            exactly.

    Raises:
        TypeError: no such module, or one of a class that has a ``forward`` of its own, or with a part of such a class.
        ValueError: a module that nothing here computes the same as: a linear map with weights for each sample or with
            channels (``f_in``, ``f_out``), an activation that is none of :class:`tpnumba.nn.Activation`, one behind the
            last matrix of a network, harmonics of other degrees than 0 to lmax. Also weights without numbers (on the
            device ``meta``), modules with hooks, also in a part, and those of e3nn before version 0.4.

    Example:
        The first lines need e3nn; without it every argument is refused.

        ::

            product = o3.FullyConnectedTensorProduct("8x0e + 8x1o", "0e + 1o", "8x0e + 8x1o")
            p, weights, _ = from_e3nn(product)
            y = p(x1, x2, weights)

        >>> from tpnumba.interop.e3nn import from_e3nn
        >>> from_e3nn(lambda x: x)
        Traceback (most recent call last):
            ...
        TypeError: module must be a TensorProduct, Linear, ... of e3nn, got function
    """
    kinds = type(module).__mro__
    name = next((kind.__name__ for kind in kinds if _package(kind) == "e3nn" and kind.__name__ in _READERS), None)
    if name is None:
        scripted = " (convert it before it is scripted)" if hasattr(module, "original_name") else ""
        raise TypeError(f"module must be a TensorProduct, Linear, ... of e3nn, got {type(module).__name__}{scripted}")
    for place, part in _parts(module):
        where = f" in its part {place}" if place else ""
        origin = next(_package(kind) for kind in type(part).__mro__ if "forward" in vars(kind))
        replaced = "forward" in vars(part) and not hasattr(part, "original_name")  # scripted parts have one
        if origin not in ("e3nn", "torch") or replaced:
            raise TypeError(f"module is a {name} of e3nn with a forward of its own{where}: {type(part).__name__}")
        if part._forward_hooks or part._forward_pre_hooks:
            raise ValueError(f"module has hooks{where}, which may change what it computes: remove them first")
    try:
        return _READERS[name](module)
    except AttributeError as error:
        raise ValueError(f"module is no {name} of e3nn 0.4 or later: it has no {error.name!r}") from error


def _parts(module: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """A module and all within it, by name; but for what is evaluated: functions of activations, parametrizations."""
    yield place, module
    evaluated = "f" if type(module).__name__ == "normalize2mom" else "parametrizations"
    for name, part in module.named_children():
        if name != evaluated:
            yield from _parts(part, f"{place}.{name}" if place else name)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _product(module: Any) -> Converted:
    if hasattr(module, "in1_var"):
        raise ValueError("module is a product of e3nn before version 0.4, whose path weights mean something else")
    in1, in2, out = (Irreps(str(of)) for of in (module.irreps_in1, module.irreps_in2, module.irreps_out))
    stored = {name.rpartition(".")[2]: buffer for name, buffer in module.named_buffers()}
    instructions = []
    for number, ins in enumerate(module.instructions):
        degrees = in1[ins.i_in1].ir.l, in2[ins.i_in2].ir.l, out[ins.i_out].ir.l
        sign = 1.0 if 0 in ins.path_shape else _sign(number, ins.connection_mode, degrees, stored)
        # e3nn keeps the factor, normalised and with its root taken, under the name of what stood under the root.
        path_weight = sign * float(ins.path_weight) ** 2
        how = ins.connection_mode, bool(ins.has_weight), path_weight
        instructions.append((ins.i_in1, ins.i_in2, ins.i_out, *how))
    product = TensorProduct(in1, in2, out, instructions, irrep_normalization="none", path_normalization="none")
    return Converted(product, _held(module, "weight", product.weight_numel))


def _sign(number: int, mode: str, degrees: tuple[int, int, int], stored: dict[str, Any]) -> float:
    """Of the coefficients of an instruction, relative to those of this package."""
    l1, l2, l3 = degrees
    name = f"_w3j_{l1}_{l2}_{l3}"
    if name not in stored:
        # Products with a scalar, dot products and cross products are written without them.
        if 0 in degrees or (degrees == (1, 1, 1) and mode == "uuu"):
            return 1.0
        raise ValueError(f"module lacks the coefficients {name} of instruction {number}")
    atol = _ROUNDED[_dtype(name, stored[name])]
    return relative_sign(_array(name, stored[name]), l1, l2, l3, name=name, atol=atol)


def _linear(module: Any) -> Converted:
    if not module.shared_weights:
        raise ValueError("module is a Linear with weights for each sample (shared_weights=False): not supported")
    if module.weight.ndim != 1 or module.bias.ndim != 1:
        raise ValueError("module is a Linear with channels (f_in, f_out): not supported")
    paths = [ins for ins in module.instructions if ins.i_in != -1]
    biased = {ins.i_out for ins in module.instructions if ins.i_in == -1}
    irreps_in, irreps_out = Irreps(str(module.irreps_in)), Irreps(str(module.irreps_out))
    for normalization in PATH_NORMALIZATIONS:
        linear = nn.Linear(
            irreps_in,
            irreps_out,
            instructions=[(ins.i_in, ins.i_out) for ins in paths],
            biases=[k in biased for k in range(len(irreps_out))],
            path_normalization=normalization,
        )
        factors = zip(linear.paths, paths, strict=True)
        if all(isclose(path.factor, ins.path_weight, rel_tol=_SAME) for path, ins in factors):
            weights, biases = _held(module, "weight", linear.weight_numel), _held(module, "bias", linear.bias_numel)
            if weights is None and module.internal_weights:
                weights = np.zeros(0, np.float32)  # which the layer is called with, unlike a product
            return Converted(linear, weights, biases)
    raise ValueError("module is a Linear with channels (f_in, f_out), or with factors of its own: not supported")


def _harmonics(module: Any) -> Converted:
    degrees = [int(degree) for degree in module._ls_list]
    if degrees != list(range(len(degrees))):
        raise ValueError(
            f"module has harmonics of the degrees {degrees}, and only those of all up to one are supported"
        )
    operator = SphericalHarmonics(
        len(degrees) - 1, normalization=module.normalization, normalize=bool(module.normalize)
    )
    return Converted(operator)


def _gate(module: Any) -> Converted:
    scalars, gates = _read_activation(module.act_scalars), _read_activation(module.act_gates)
    gate = nn.Gate(*scalars, *gates, str(module.irreps_gated))
    if gate.irreps_in != Irreps(str(module.irreps_in)):
        raise ValueError(f"module takes {module.irreps_in}, and a gate with its parts takes {gate.irreps_in} here")
    return Converted(gate)


def _activation(module: Any) -> Converted:
    chosen = set(_read_activation(module)[1])
    if len(chosen) != 1 or None in chosen:
        raise ValueError(f"module must have the same function for every block, got {module!r}")
    return Converted(chosen.pop())


def _read_activation(module: Any) -> tuple[Irreps, list[nn.Activation | None]]:
    """The irreps of an ``nn.Activation``, and the function of each block."""
    return Irreps(str(module.irreps_in)), [_recognise(act) for act in module.acts]


def _recognise(act: Any) -> nn.Activation | None:
    """The function of this package that a ``normalize2mom`` has the values of, with its scale; None for None."""
    if act is None:
        return None
    import torch

    with torch.no_grad():
        values = _array("of the activation", act.f(torch.tensor(_POINTS)))
    scale = 1.0 if act._is_id else float(act.cst)
    for name in ACTIVATIONS:
        if np.allclose(values, nn.Activation(name)(_POINTS), rtol=_SAME, atol=_SAME):
            return nn.Activation(name, scale)
    raise ValueError(f"module has the activation {act.f!r}, which is none of {', '.join(ACTIVATIONS)}")


def _network(module: Any) -> Converted:
    layers = list(module.children())
    if not layers or layers[-1].act is not None:
        raise ValueError(f"module must have matrices, and an activation behind each but the last, got {module!r}")
    functions = {_recognise(layer.act) for layer in layers[:-1]} or {None}
    mlp = nn.MLP([int(width) for width in module.hs], functions.pop())
    matrices, variance = [], 1.0  # of what comes in, over what the layer takes it to be
    for layer in layers:
        factor = sqrt(variance / layer.var_in)
        variance = layer.var_out
        matrices.append(_array("weight", layer.weight).reshape(-1) * factor)
    matrices[-1] *= sqrt(variance)
    return Converted(mlp, np.concatenate(matrices))


_READERS: dict[str, Callable[[Any], Converted]] = {
    "TensorProduct": _product,
    "Linear": _linear,
    "SphericalHarmonics": _harmonics,
    "Gate": _gate,
    "Activation": _activation,
    "FullyConnectedNet": _network,
}


def _held(module: Any, name: str, size: int) -> Array | None:
    """The ``size`` weights that a module holds under a name; None if it holds none."""
    if not module.internal_weights or size == 0:
        return None
    array = _array(name, getattr(module, name)).reshape(-1)
    if array.size != size:
        raise ValueError(f"module has {array.size} numbers in {name!r} where {size} are expected")
    return array


def _dtype(name: str, tensor: Any) -> str:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _ROUNDED:
        raise TypeError(f"{name} must have one of the dtypes {', '.join(_ROUNDED)}, got {dtype}")
    return dtype


def _array(name: str, tensor: Any) -> Array:
    """A copy of a tensor, in float32 or float64."""
    half = _dtype(name, tensor) in ("float16", "bfloat16")
    if tensor.is_meta:
        raise ValueError(f"{name} has no numbers: it is on the device meta")
    found = tensor.detach().cpu()
    return np.array((found.float() if half else found).numpy())
