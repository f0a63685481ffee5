"""The geometry of edges: from their vectors to lengths, and back for forces."""

from __future__ import annotations

from typing import Any

from tpnumba.nn.checks import context_of, require_last_axis
from tpnumba.products.form import require_shape

Array = Any


def edge_lengths(vectors: Array) -> Array:
    """The lengths of edge vectors.

    Args:
        vectors: shape ``(..., 3)``, float32 or float64, in any unit of length.

    Returns:
        Shape ``(...)``, in that unit.

    Raises:
        TypeError, ValueError: not such an array.

    Example:
        >>> import numpy as np
        >>> edge_lengths(np.array([[0.0, 3.0, 4.0]]))
        array([5.])
    """
    xp = context_of({"vectors": vectors}).xp
    require_last_axis("vectors", vectors, 3)
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    return xp.sqrt(x * x + y * y + z * z)


def edge_lengths_vjp(vectors: Array, lengths: Array, cotangent: Array) -> Array:
    """The gradient of ``<cotangent, edge_lengths(vectors)>``: ``cotangent * vectors / lengths``; zero at length zero.

    Args:
        vectors: shape ``(..., 3)``.
        lengths: theirs, as :func:`edge_lengths` gives them.
        cotangent: of the shape of ``lengths``.

    Returns:
        Of the shape of ``vectors``.

    Raises:
        TypeError, ValueError: not such arrays.

    Example:
        >>> import numpy as np
        >>> edge_lengths_vjp(np.array([0.0, 3.0, 4.0]), np.asarray(5.0), np.asarray(10.0))
        array([0., 6., 8.])
    """
    xp = _checked(vectors, lengths, cotangent=cotangent)
    require_shape("cotangent", cotangent, tuple(lengths.shape))
    return (cotangent / _nonzero(lengths, xp))[..., None] * vectors


def edge_lengths_jvp(vectors: Array, lengths: Array, tangent: Array) -> Array:
    """The derivative of the lengths along a tangent: ``<vectors, tangent> / lengths``; zero at length zero.

    Args:
        vectors, lengths: as for :func:`edge_lengths_vjp`.
        tangent: of the shape of ``vectors``.

    Returns:
        Of the shape of ``lengths``.

    Raises:
        TypeError, ValueError: not such arrays.

    Example:
        >>> import numpy as np
        >>> edge_lengths_jvp(np.array([[0.0, 3.0, 4.0]]), np.array([5.0]), np.array([[0.0, 0.0, 1.0]]))
        array([0.8])
    """
    xp = _checked(vectors, lengths, tangent=tangent)
    require_shape("tangent", tangent, tuple(vectors.shape))
    return xp.sum(vectors * tangent, axis=-1) / _nonzero(lengths, xp)


def _checked(vectors: Array, lengths: Array, **other: Array) -> Any:
    """Check edge vectors and their lengths; gives the namespace of all arrays."""
    xp = context_of({"vectors": vectors, "lengths": lengths, **other}).xp
    require_last_axis("vectors", vectors, 3)
    require_shape("lengths", lengths, tuple(vectors.shape[:-1]))
    return xp


def _nonzero(lengths: Array, xp: Any) -> Array:
    """The lengths, with ones in place of zeros."""
    return xp.where(lengths == 0, xp.ones_like(lengths), lengths)
