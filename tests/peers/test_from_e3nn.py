"""Modules of e3nn 0.6 as operators of this package: numbers, gradients, refusals. Runs in the session ``peers``."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from peers.references import MARKS, SEEDS, assert_agree, e3nn, gradients, leaf, o3, torch
from strategies import irreps, tensor_products, tolerance

import tpnumba as tp
from tpnumba.interop.e3nn import from_e3nn

pytestmark = MARKS

SILU = torch.nn.functional.silu
NORMALIZATIONS = st.sampled_from(["component", "norm", "none"])
PATHS = st.sampled_from(["element", "path", "none"])


def shifted_softplus(x):
    return torch.nn.functional.softplus(x) - math.log(2)


#: How a product comes by its weights: its own, one set a call, one set a sample.
WEIGHTS = st.sampled_from(["internal", "shared", "unshared"])


def options_of(weights):
    return {"internal_weights": weights == "internal", "shared_weights": weights != "unshared"}


def compare(module, inputs, passed=()):
    """Hold values and all gradients of a module against those of what it is converted to."""
    found = from_e3nn(module)
    square = isinstance(module, o3.TensorSquare)
    ours = list(inputs) * (2 if square else 1)
    arrays = list(passed) or [array for array in found[1:] if array is not None]
    leaves, given_leaves = [leaf(x) for x in inputs], [leaf(w) for w in passed]
    expected = module(*leaves, *given_leaves)
    values = found.operator(*ours, *arrays)
    assert_agree(values, expected)
    if not expected.requires_grad:  # it is zero whatever comes in
        return
    g = np.random.default_rng(0).standard_normal(values.shape)
    parameters = given_leaves or list(module.parameters())
    of_theirs = [gradient.detach().numpy() for gradient in gradients(expected, [*leaves, *parameters], g)]
    pulled = found.operator.vjp(*ours, g, **({"weights": arrays[0]} if arrays else {}))
    of_ours = list(pulled) if isinstance(pulled, tuple) else [pulled]
    if square:
        of_ours[:2] = [of_ours[0] + of_ours[1]]
    for one, other in zip(parts(of_ours, len(inputs)), parts(of_theirs, len(inputs)), strict=True):
        assert_agree(one, torch.tensor(other))


def parts(arrays, inputs):
    """Gradients by inputs, and those by all weights as one."""
    return [*arrays[:inputs], np.concatenate([np.zeros(0), *(array.ravel() for array in arrays[inputs:])])]


def weights_for(module, kind, rng, samples=4):
    if kind == "internal" or not any(ins.has_weight for ins in module.instructions):
        return ()
    return (rng.standard_normal(module.weight_numel if kind == "shared" else (samples, module.weight_numel)),)


def inputs_of(rng, *spaces, samples=4):
    return [rng.standard_normal((samples, space.dim)) for space in spaces]


@st.composite
def variances(draw, blocks):
    return draw(st.none() | st.lists(st.sampled_from([0.25, 1.0, 3.0]), min_size=len(blocks), max_size=len(blocks)))


@given(p=tensor_products(), kind=WEIGHTS, normalizations=st.tuples(NORMALIZATIONS, PATHS), seed=SEEDS, data=st.data())
def test_tensor_product_in_every_mode(p, kind, normalizations, seed, data):
    spaces = [p.irreps_in1, p.irreps_in2, p.irreps_out]
    named = zip(("in1_var", "in2_var", "out_var"), spaces, strict=True)
    module = o3.TensorProduct(
        *map(str, spaces),
        [tuple(ins) for ins in p.instructions],
        **{name: data.draw(variances(space)) for name, space in named},
        irrep_normalization=normalizations[0],
        path_normalization=normalizations[1],
        **options_of(kind),
    )
    rng = np.random.default_rng(seed)
    compare(module, inputs_of(rng, *spaces[:2]), weights_for(module, kind, rng))


@given(in1=irreps(), in2=irreps(), out=irreps(), kind=WEIGHTS, normalization=NORMALIZATIONS, seed=SEEDS)
def test_products_derived_from_it(in1, in2, out, kind, normalization, seed):
    rng = np.random.default_rng(seed)
    connected = o3.FullyConnectedTensorProduct(
        str(in1), str(in2), str(out), irrep_normalization=normalization, **options_of(kind)
    )
    compare(connected, inputs_of(rng, in1, in2), weights_for(connected, kind, rng))
    compare(o3.FullTensorProduct(str(in1), str(in2), irrep_normalization=normalization), inputs_of(rng, in1, in2))
    paired = tp.Irreps([(1, ir) for mul, ir in in1 for _ in range(mul)][::-1])
    elementwise = o3.ElementwiseTensorProduct(str(in1), str(paired), irrep_normalization=normalization)
    compare(elementwise, inputs_of(rng, in1, paired))


@given(into=irreps(), out=st.none() | irreps(), normalization=NORMALIZATIONS, seed=SEEDS)
def test_square(into, out, normalization, seed):
    module = o3.TensorSquare(str(into), None if out is None else str(out), irrep_normalization=normalization)
    compare(module, inputs_of(np.random.default_rng(seed), into))


class Channelwise(o3.TensorProduct):
    """As in graph convolutions: with instructions of its own, and e3nn's way to evaluate them."""

    def __init__(self):
        paths = [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 2), (1, 2, 3)]
        out = "8x0e + 8x1o + 8x1e + 8x2o"
        instructions = [(*path, "uvu", True) for path in paths]
        super().__init__("8x0e + 8x1o", "0e + 1o + 2e", out, instructions, shared_weights=False)


@pytest.mark.parametrize("mode", ["eager", "script"])
def test_graph_convolution(mode):
    before = e3nn.get_optimization_defaults()["jit_mode"]
    e3nn.set_optimization_defaults(jit_mode=mode)
    try:
        module = Channelwise()
    finally:
        e3nn.set_optimization_defaults(jit_mode=before)
    rng = np.random.default_rng(0)
    inputs, weights = inputs_of(rng, module.irreps_in1, module.irreps_in2), weights_for(module, "unshared", rng)
    compare(module, inputs, weights)
    assert from_e3nn(module).weights is None
    compare(copy.deepcopy(module), inputs, weights)


@given(kind=WEIGHTS, seed=SEEDS, data=st.data())
def test_signs_are_those_that_the_module_holds(kind, seed, data):
    """As in e3nn before 0.5, where coefficients of some triples were the negatives of those of today."""
    irreps_1, irreps_2 = "2x0e + 2x1o + 2x2e + 1x1e", "0e + 1o + 2e"
    paths = [("uvw", True), ("uvuv", False)]
    instructions, out = [], []
    for i, (mul, ir) in enumerate(o3.Irreps(irreps_1)):
        for j, (_, other) in enumerate(o3.Irreps(irreps_2)):
            for k in ir * other:
                instructions.append((i, j, len(out), *paths[len(out) % 2]))
                out.append((mul, k))
    module = o3.TensorProduct(irreps_1, irreps_2, out, instructions, **options_of(kind))
    flipped = set()
    for name, buffer in module.named_buffers():
        if "_w3j_" in name and data.draw(st.booleans(), label=name):
            buffer.neg_()
            flipped.add(tuple(int(degree) for degree in name.split("_")[-3:]))
    rng = np.random.default_rng(seed)
    compare(module, inputs_of(rng, module.irreps_in1, module.irreps_in2), weights_for(module, kind, rng))
    p = from_e3nn(module).operator
    for ins in p.instructions:
        spaces = zip((p.irreps_in1, p.irreps_in2, p.irreps_out), ins, strict=False)
        assert (ins.path_weight < 0) == (tuple(space[i].ir.l for space, i in spaces) in flipped)


@given(
    blocks=st.tuples(irreps(), irreps()),
    biased=st.booleans(),
    path=st.sampled_from(["element", "path"]),
    internal=st.booleans(),
    seed=SEEDS,
    data=st.data(),
)
def test_linear(blocks, biased, path, internal, seed, data):
    first, last = blocks
    pairs = [(i, k) for i, (_, ir) in enumerate(first) for k, (_, other) in enumerate(last) if ir == other]
    chosen = data.draw(st.just(pairs) | st.permutations(pairs).map(lambda some: some[: len(some) // 2 + 1]))
    reached = {k for i, k in chosen if first[i].mul * last[k].mul}  # e3nn cannot be made with biases elsewhere
    biases = [biased and ir.is_scalar() and k in reached for k, (_, ir) in enumerate(last)]
    options = {"path_normalization": path, "internal_weights": internal}
    module = o3.Linear(str(first), str(last), instructions=chosen, biases=biases, **options)
    rng = np.random.default_rng(seed)
    if internal and module.bias_numel:
        module.bias.data.normal_()
    sizes = [] if internal else [module.weight_numel, *([module.bias_numel] if module.bias_numel else [])]
    compare(module, inputs_of(rng, first), [rng.standard_normal(size) for size in sizes])
    found = from_e3nn(module)
    assert (found.weights is not None) == internal
    assert (found.biases is not None) == (internal and module.bias_numel > 0)


GATES = [
    ("16x0e + 4x0o", [SILU, torch.tanh], "8x0e", [torch.sigmoid], "4x1o + 4x2e"),
    ("3x0o + 2x0e", [torch.abs, torch.nn.SiLU()], "2x0o + 3x0e", [torch.tanh, shifted_softplus], "1x1o + 2x1e + 2x1o"),
    ("5x0e", [lambda x: x * torch.sigmoid(x)], "", [], ""),
    ("2x0e + 2x0e", [SILU, None], "3x0e", [torch.sigmoid], "2x1o + 1x0e"),
]


@pytest.mark.parametrize("parts", GATES)
def test_gate(parts):
    module = e3nn.nn.Gate(*parts)
    compare(module, inputs_of(np.random.default_rng(0), module.irreps_in))


@pytest.mark.parametrize("f", [SILU, torch.tanh, torch.sigmoid, torch.abs, shifted_softplus])
def test_activation(f):
    module = e3nn.nn.Activation("5x0e + 2x0e", [f, f])
    compare(module, inputs_of(np.random.default_rng(0), module.irreps_in))


def test_scales_are_those_that_the_module_holds():
    module = e3nn.nn.Activation("5x0e + 2x0e", [torch.tanh, torch.tanh])
    for act in module.acts:
        act.cst = 1.25
    compare(module, inputs_of(np.random.default_rng(0), module.irreps_in))
    for act in module.acts:
        act._is_id = True  # as e3nn has it where the scale is 1 to four digits
    compare(module, inputs_of(np.random.default_rng(0), module.irreps_in))
    assert from_e3nn(module).operator.scale == 1.0


def test_weights_that_are_made_of_others():
    class Doubling(torch.nn.Module):
        def forward(self, weight):
            return 2 * weight

    module = o3.Linear("2x0e + 1o", "3x0e + 2x1o")
    before = from_e3nn(module).weights
    torch.nn.utils.parametrize.register_parametrization(module, "weight", Doubling())
    np.testing.assert_array_equal(from_e3nn(module).weights, 2 * before)


@pytest.mark.parametrize("widths", [[8, 64, 64, 100], [3, 5], [4, 7, 2]])
@pytest.mark.parametrize("act", [SILU, torch.tanh, None])
@pytest.mark.parametrize("options", [{}, {"variance_in": 2.0, "variance_out": 3.0}], ids=["", "variances"])
def test_fully_connected_net(widths, act, options):
    module = e3nn.nn.FullyConnectedNet(widths, act, **options)
    found = from_e3nn(module)
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((300, widths[0])), rng.standard_normal((300, widths[-1]))
    expected = module(leaf(x))
    assert_agree(found.operator(x, found.weights), expected)
    a = leaf(x)
    assert_agree(found.operator.vjp(x, g, weights=found.weights)[0], *gradients(module(a), [a], g))
    if not options:
        compare(module, [x])


@pytest.mark.parametrize("normalization", ["integral", "component", "norm"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("degrees", [[0], [0, 1, 2, 3], "0e + 1e + 2e"])
def test_spherical_harmonics(degrees, normalize, normalization):
    module = o3.SphericalHarmonics(degrees, normalize, normalization)
    compare(module, [np.random.default_rng(0).standard_normal((20, 3))])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_weights_are_copies_in_a_dtype_that_holds_them(dtype):
    module = o3.FullyConnectedTensorProduct("4x0e + 3x1o", "0e + 1o", "4x0e + 3x1o + 2x1e").to(getattr(torch, dtype))
    found = from_e3nn(module)
    held = found.weights.copy()
    assert found.weights.dtype == np.float32
    np.testing.assert_array_equal(held, module.weight.detach().float().numpy())
    with torch.no_grad():
        module.weight.zero_()
    np.testing.assert_array_equal(found.weights, held)


def test_a_module_in_single_precision_agrees_to_its_rounding():
    module = o3.FullyConnectedTensorProduct("8x0e + 8x1o", "0e + 1o + 2e", "8x0e + 8x1o + 4x2e").float()
    p, weights, _ = from_e3nn(module)
    rng = np.random.default_rng(0)
    x, y = (array.astype("float32") for array in inputs_of(rng, p.irreps_in1, p.irreps_in2))
    expected = module(torch.tensor(x), torch.tensor(y)).detach().numpy()
    found = p(x, y, weights)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance("float32") * (1 + np.abs(expected).max()))


def test_what_comes_back_can_be_pickled():
    modules = (
        Channelwise(),
        o3.Linear("2x0e + 1o", "2x0e", biases=True),
        o3.SphericalHarmonics([0, 1], True),
        e3nn.nn.Gate(*GATES[0]),
        e3nn.nn.FullyConnectedNet([3, 4, 2], SILU),
    )
    for found in map(from_e3nn, modules):
        again = pickle.loads(pickle.dumps(found))
        assert again.operator == found.operator
        for one, other in zip(again[1:], found[1:], strict=True):
            np.testing.assert_array_equal(one, other)


class Doubled(o3.Linear):
    def forward(self, *arguments):
        return 2 * super().forward(*arguments)


def spoiled():
    module = o3.FullTensorProduct("1o", "2e")
    for name, buffer in module.named_buffers():
        if name.endswith("_w3j_1_2_2"):
            buffer.mul_(1.1)
    return module


def hooked():
    module = o3.Linear("1o", "1o")
    module.register_forward_hook(lambda module, arguments, result: 2 * result)
    return module


def hooked_within():
    module = e3nn.nn.FullyConnectedNet([3, 4, 2], SILU)
    module[0].register_forward_pre_hook(lambda module, arguments: (2 * arguments[0],))
    return module


def changed_within():
    module = e3nn.nn.Gate("2x0e", [SILU], "", [], "")
    module.act_scalars.acts[0].forward = torch.tanh
    return module


class Scaled(torch.nn.Module):
    """A silu as a module, with a forward of its own and a hook: what it computes is what its values say."""

    def __init__(self):
        super().__init__()
        self.register_forward_hook(lambda module, arguments, result: result / 3)

    def forward(self, x):
        return 3 * SILU(x)


def test_a_function_of_its_own_is_known_by_its_values():
    found = from_e3nn(e3nn.nn.Activation("2x0e", [Scaled()])).operator
    assert found == from_e3nn(e3nn.nn.Activation("2x0e", [SILU])).operator


REFUSED = [
    (TypeError, lambda: torch.nn.Linear(3, 3), "must be a TensorProduct, .* of e3nn, got Linear$"),
    (TypeError, lambda: o3.Irreps("1o"), "of e3nn, got Irreps$"),
    (TypeError, lambda: o3.Norm("1o"), "of e3nn, got Norm$"),
    (TypeError, lambda: o3.ReducedTensorProducts("ij=ji", i="1o"), "got ReducedTensorProducts$"),
    (TypeError, lambda: torch.jit.script(o3.Linear("1o", "1o")), "convert it before it is scripted"),
    (TypeError, lambda: Doubled("1o", "1o"), "a Linear of e3nn with a forward of its own: Doubled"),
    (ValueError, hooked, "module has hooks, which may change what it computes"),
    (ValueError, hooked_within, "module has hooks in its part layer0, which may change what it computes"),
    (TypeError, changed_within, r"a forward of its own in its part act_scalars\.acts\.0: normalize2mom"),
    (ValueError, lambda: o3.Linear("1o", "1o", shared_weights=False), "weights for each sample"),
    (ValueError, lambda: o3.Linear("1o", "1o", f_in=2, f_out=3), r"channels \(f_in, f_out\)"),
    (ValueError, lambda: o3.Linear("1o", "1o", f_in=2, f_out=3, internal_weights=False), r"channels \(f_in, f_out\)"),
    (
        ValueError,
        lambda: e3nn.nn.Gate("2x0e", [torch.nn.functional.elu], "", [], ""),
        "activation <.*elu.*>, which is none of silu",
    ),
    (ValueError, lambda: e3nn.nn.Activation("2x0e + 0o", [SILU, torch.tanh]), "the same function for every block"),
    (ValueError, lambda: e3nn.nn.Activation("2x0e + 1o", [SILU, None]), "the same function for every block"),
    (ValueError, lambda: e3nn.nn.FullyConnectedNet([4, 4], SILU, out_act=True), "behind each but the last"),
    (ValueError, lambda: e3nn.nn.FullyConnectedNet([4]), "must have matrices"),
    (ValueError, lambda: o3.SphericalHarmonics([0, 2], True), r"of the degrees \[0, 2\]"),
    (ValueError, lambda: o3.SphericalHarmonics("1o + 0e", True), r"of the degrees \[1, 0\]"),
    (ValueError, lambda: o3.FullyConnectedTensorProduct("1o", "1o", "1o + 1e").to("meta"), "on the device meta"),
    (TypeError, lambda: o3.Linear("1o", "1o").to(torch.complex64), "weight must have one of the dtypes .* complex64"),
    (ValueError, spoiled, "the coefficients _w3j_1_2_2 are not those of the degrees 1, 2, 2"),
]


@pytest.mark.parametrize(("error", "make", "message"), REFUSED)
def test_what_has_no_counterpart_is_refused(error, make, message):
    with pytest.raises(error, match=message):
        from_e3nn(make())


def test_a_product_that_looks_like_one_before_version_4_is_refused():
    module = o3.FullTensorProduct("1o", "1o")
    module.in1_var = [1.0]
    with pytest.raises(ValueError, match=r"before version 0\.4"):
        from_e3nn(module)
    module = e3nn.nn.FullyConnectedNet([4, 4])
    del module.layer0.var_in
    with pytest.raises(ValueError, match=r"no FullyConnectedNet of e3nn 0\.4 or later: it has no 'var_in'"):
        from_e3nn(module)


def test_coefficients_that_are_missing_are_named():
    module = o3.FullTensorProduct("1o", "2e")
    del module._compiled_main_left_right._w3j_1_2_2
    with pytest.raises(ValueError, match=r"lacks the coefficients _w3j_1_2_2 of instruction 1"):
        from_e3nn(module)


def test_the_example_of_the_page_runs():
    import test_readme

    test_readme.test_pages("conventions.md")
