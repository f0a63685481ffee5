"""What a message-passing potential computes, as frozen data: its layers, their irreps and constants, without weights.

The networks are those of NequIP (Batzner et al., Nat. Commun. 13, 2453, 2022) and what descends from it: features of
atoms, embedded by element; interactions, each of which mixes them, convolves them with the harmonics of the edges by
weights from a radial network, mixes the sums, adds a self-connection and applies a gate; and a readout of energies.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from tpnumba import nn
from tpnumba.irreps import Irreps, check_degree
from tpnumba.models.repulsion import Repulsion
from tpnumba.nn.activations import ACTIVATIONS
from tpnumba.nn.checks import check_count, check_number
from tpnumba.products.instructions import check_choice

#: Of the description; a file with another one is of another tpnumba.
VERSION = 2

SELF_CONNECTIONS = ("linear", "elements", "none")
ENVELOPES = ("polynomial", "xplor", "cosine")


@dataclass(frozen=True)
class Radial:
    """What a radial network reads of a distance: Bessel functions times an envelope.

    Attributes:
        number: of Bessel functions.
        prefactor: in front of them.
        envelope: ``polynomial``, ``xplor`` or ``cosine``.
        parameter: of the envelope: the power of a polynomial one, the distance at which XPLOR begins.

    Raises:
        TypeError, ValueError: another envelope, or a number, prefactor or parameter that is malformed.
    """

    number: int
    prefactor: float
    envelope: str
    parameter: float

    def __post_init__(self) -> None:
        check_choice("envelope", self.envelope, ENVELOPES)
        check_count("number", self.number)
        check_number("prefactor", self.prefactor)
        parameter = check_number("parameter", self.parameter)
        if self.envelope == "polynomial" and parameter != int(parameter):
            raise ValueError(f"parameter must be an integer, the power of a polynomial envelope, got {parameter}")

    def embedding(self, cutoff: float) -> nn.RadialEmbedding:
        """The functions."""
        if self.envelope == "polynomial":
            envelope: Any = nn.PolynomialEnvelope(cutoff, int(self.parameter))
        elif self.envelope == "xplor":
            envelope = nn.XPLOREnvelope(cutoff, self.parameter)
        else:
            envelope = nn.CosineEnvelope(cutoff)
        return nn.RadialEmbedding(nn.BesselBasis(self.number, cutoff, prefactor=self.prefactor), envelope)


@dataclass(frozen=True)
class Interaction:
    """One interaction.

    Attributes:
        irreps_in: of the features that come in.
        irreps_messages: of the products of features and harmonics, block by block.
        instructions: of the products: the block of the features, of the harmonics and of the messages.
        hidden: the widths of the hidden layers of the radial network.
        radial_activation: its activation.
        denominator: what the sum over the edges of an atom is divided by.
        self_connection: ``linear``, ``elements`` (a linear map for each element) or ``none``.
        scalars, gates, gated: irreps of the gate.
        scalar_activations, gate_activations: of each of their blocks.
        sender_factors: of the features that an atom sends, one for each element; empty for none.

    Raises:
        TypeError, ValueError: unknown names, a denominator that is not above zero, factors that are not finite, or
            instructions of blocks that are not there.
    """

    irreps_in: str
    irreps_messages: str
    instructions: tuple[tuple[int, int, int], ...]
    hidden: tuple[int, ...]
    radial_activation: str
    denominator: float
    self_connection: str
    scalars: str
    scalar_activations: tuple[str, ...]
    gates: str
    gate_activations: tuple[str, ...]
    gated: str
    sender_factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_choice("self_connection", self.self_connection, SELF_CONNECTIONS)
        check_choice("radial_activation", self.radial_activation, ACTIVATIONS)
        object.__setattr__(self, "denominator", check_number("denominator", self.denominator, positive=True))
        factors = (check_number(f"sender_factors[{i}]", factor) for i, factor in enumerate(self.sender_factors))
        object.__setattr__(self, "sender_factors", tuple(factors))
        count = len(Irreps(self.irreps_in))
        for number, (i, _, _) in enumerate(self.instructions):
            if check_degree(f"the block of instructions[{number}]", i) >= count:
                raise ValueError(f"instructions[{number}] must be of one of the {count} blocks of irreps_in, got {i}")
        for names in ("scalar_activations", "gate_activations"):
            for number, name in enumerate(getattr(self, names)):
                check_choice(f"{names}[{number}]", name, ACTIVATIONS)

    def gate(self, layout: str) -> nn.Gate:
        """The gate; activations have e3nn's normalisation."""
        activations = (
            [nn.Activation.normalized(name, moment="sampled") for name in names]
            for names in (self.scalar_activations, self.gate_activations)
        )
        scalars, gates = activations
        return nn.Gate(self.scalars, scalars, self.gates, gates, self.gated, layout=layout)

    def radial_network(self, number: int) -> nn.MLP:
        """The network from ``number`` radial functions to the weights of the products."""
        activation = nn.Activation.normalized(self.radial_activation, moment="sampled")
        features = Irreps(self.irreps_in)
        weights = sum(features[i].mul for i, _, _ in self.instructions)
        return nn.MLP([number, *self.hidden, weights], activation)


@dataclass(frozen=True)
class Network:
    """A potential without its weights.

    Attributes:
        name: of the model, and where it comes from.
        elements: atomic numbers, in the order of the embedding.
        cutoff: of the edges, in angstrom.
        radial: what radial networks read.
        lmax: of the harmonics of the edges, of component normalisation.
        parity: -1 if these change sign under inversion with their degree, 1 if they are taken for even ones.
        unit_vectors: whether edges are normalised before harmonics are taken.
        irreps_embedding: of the features of an element.
        interactions: one after the other, at least one.
        hidden: the widths of the hidden layers of the readout.
        readout_activation: after each of these; None for none.
        repulsion: of nuclei, added to what the network gives; None for none.

    Raises:
        TypeError, ValueError: elements that are no atomic numbers or stand there twice, a cutoff or radial functions
            that are malformed, or an interaction whose features are not those that come out of what is before it.
    """

    name: str
    elements: tuple[int, ...]
    cutoff: float
    radial: Radial
    lmax: int
    parity: int
    unit_vectors: bool
    irreps_embedding: str
    interactions: tuple[Interaction, ...]
    hidden: tuple[int, ...]
    readout_activation: str | None = None
    repulsion: Repulsion | None = None

    def __post_init__(self) -> None:
        if not self.interactions:
            raise ValueError("interactions must hold at least one Interaction, got none")
        if not self.elements:
            raise ValueError("elements must hold at least one atomic number, got none")
        for i, element in enumerate(self.elements):
            if check_count(f"elements[{i}]", element) in self.elements[:i]:
                raise ValueError(f"elements must differ from each other, got {element} twice")
        self.radial.embedding(self.cutoff)
        before = Irreps(self.irreps_embedding)
        for t, described in enumerate(self.interactions):
            if Irreps(described.irreps_in) != before:
                raise ValueError(f"irreps_in of interaction {t} must be {before}, got {described.irreps_in}")
            before = described.gate("ir_mul").irreps_out
        if self.readout_activation is not None:
            check_choice("readout_activation", self.readout_activation, ACTIVATIONS)
        for t, described in enumerate(self.interactions):
            factors = described.sender_factors
            if factors and len(factors) != len(self.elements):
                raise ValueError(
                    f"sender_factors of interaction {t} must be empty or have one for each of the {len(self.elements)} "
                    f"elements, got {len(factors)}"
                )

    @property
    def irreps_harmonics(self) -> Irreps:
        """Of the harmonics of the edges."""
        return Irreps.spherical_harmonics(self.lmax, self.parity)

    def to_json(self) -> str:
        """The description as text."""
        return json.dumps({"version": VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Network:
        """The description that :meth:`to_json` has written.

        Raises:
            ValueError: it is of a newer version, or malformed.
        """
        try:
            fields = json.loads(text)
            version = fields.pop("version")
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"the description of the network is malformed: {error}") from error
        if version != VERSION:
            raise ValueError(
                f"the description of the network has version {version!r}, and this tpnumba reads {VERSION}"
            )
        try:
            fields["radial"] = Radial(**fields["radial"])
            fields["interactions"] = tuple(_interaction(entry) for entry in fields["interactions"])
            if fields["repulsion"] is not None:
                fields["repulsion"] = Repulsion(**fields["repulsion"])
            fields["elements"], fields["hidden"] = tuple(fields["elements"]), tuple(fields["hidden"])
            return cls(**fields)
        except (KeyError, TypeError) as error:
            raise ValueError(f"the description of the network is malformed: {error}") from error


def _interaction(fields: dict[str, Any]) -> Interaction:
    tuples = ("hidden", "scalar_activations", "gate_activations", "sender_factors")
    changed: dict[str, Any] = {name: tuple(fields[name]) for name in tuples}
    changed["instructions"] = tuple(tuple(entry) for entry in fields["instructions"])
    return Interaction(**{**fields, **changed})
