"""Contractions whose path weights are sums of products: evaluated by two programs, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from tpnumba.backends.base import Job
from tpnumba.plans.access import Access
from tpnumba.plans.low_rank import FEATURES, WEIGHTS, LowRankContraction


def evaluate_rows(job: Job, evaluate: Callable[[Job], bool], most: int) -> bool:
    """See :class:`tpnumba.backends.base.Evaluation`.

    Args:
        job: of a :class:`LowRankContraction`.
        evaluate: the same for the plans that it is made of.
        most: the samples whose path weights are held at a time, where each has its own.
    """
    plan, arrays, samples, _, context, _, _ = job
    assert isinstance(plan, LowRankContraction)
    of_weights = {k: arrays[i] for k, i in enumerate(WEIGHTS) if i != plan.output}
    given = {place: arrays[i] for place, i in ((0, 0), (1, 1), (3, 5)) if i != plan.output}
    to_feature = plan.output in FEATURES
    # One row of path weights for all samples: of weights that are so, or as the sum for such.
    one = all(array.ndim == 1 for array in of_weights.values()) and (to_feature or plan.sums_samples)
    if not one and prod(samples) > most:
        return False
    access = Access.SHARED if one else Access.BATCH
    inner = plan.inner.with_access((plan.operands[0].access, plan.operands[1].access, access, plan.operands[5].access))
    kinds = [plan.operands[i].access for i in WEIGHTS]
    summed = plan.summed.with_access((*kinds, access))
    of_paths = np.empty((*(() if one else samples), plan.summed.sizes[3]), dtype=context.dtype)
    rows = () if one else samples
    if to_feature:
        first = job._replace(plan=summed, arrays=of_weights, samples=rows, results=[of_paths])
        return evaluate(first) and evaluate(job._replace(plan=inner, arrays={**given, 2: of_paths}))
    last = job._replace(plan=summed, arrays={**of_weights, 3: of_paths}, samples=rows)
    return evaluate(job._replace(plan=inner, arrays=given, results=[of_paths])) and evaluate(last)
