"""Non-negative least squares on relative error: for the kernels' rooflines and for the networks' sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def relative_nnls(columns: np.ndarray, measured: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """(k,) weights >= 0 that minimise the squared relative error of `columns` (n, k) @ weights to `measured` (n,).

    weight (n,): of each row, 1 by default.
    """
    root = np.ones(len(measured)) if weight is None else np.sqrt(weight)
    return _scaled_nnls(columns / measured[:, None] * root[:, None], root)


def shrunk_nnls(columns: np.ndarray, measured: np.ndarray, groups: np.ndarray, shrinkage: float) -> np.ndarray:
    """The same with a ridge penalty towards the weights of a coarse model in which grouped columns share one weight.

    groups (k, g): 1 where a column is in a group. Columns are scaled to mean 1, so that a step of a weight is one of
    the mean share of the time that its feature takes.
    """
    relative = columns / measured[:, None]
    scale = np.where(columns.any(axis=0), relative.mean(axis=0), 1.0)
    coarse = (groups @ _scaled_nnls(relative @ groups, np.ones(len(measured)))) * scale
    pull = np.sqrt(shrinkage) * np.eye(len(scale))
    targets = np.concatenate([np.ones(len(measured)), pull @ coarse])
    return _scaled_nnls(np.vstack([relative / scale, pull]), targets) / scale


def groups_of(names: Sequence[str]) -> np.ndarray:
    """(k, g) of 0 and 1: one group a measure, so `pointwise.macs` is with all other `.macs`."""
    measures = [name.rsplit(".", 1)[-1] for name in names]
    return np.array([[float(measure == group) for group in sorted(set(measures))] for measure in measures])


def _scaled_nnls(columns: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Non-negative least squares with columns scaled to a maximum of 1, as they span 1 to 1e9."""
    from scipy.optimize import nnls

    scale = np.abs(columns).max(axis=0)
    scale[scale == 0] = 1.0
    return nnls(columns / scale, targets, maxiter=100 * columns.shape[1])[0] / scale
