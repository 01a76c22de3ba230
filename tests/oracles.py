"""Slow, obvious twins of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def moments(
    data: Array, err: Array | None, dq: Array | None, mask: int, scale: float = 1.0
) -> dict[str, Array]:
    """Sums over the first axis of [frame, pixel] arrays, two passes, NumPy only."""
    frames, pixels = data.shape
    n = np.zeros(pixels, int)
    mean, m2, err2 = np.zeros(pixels), np.zeros(pixels), np.zeros(pixels)
    flags = np.zeros(pixels, np.uint64)
    for p in range(pixels):
        samples, errors = [], []
        for j in range(frames):
            x = float(data[j, p]) * scale
            e = 0.0 if err is None else float(err[j, p]) * scale
            q = 0 if dq is None else int(dq[j, p])
            finite = bool(np.isfinite(x) and np.isfinite(e))
            flags[p] |= np.uint64(q | (0 if finite else 1))
            if finite and not q & mask:
                samples.append(x)
                errors.append(e)
        n[p] = len(samples)
        if samples:
            mean[p] = np.mean(samples)
            m2[p] = np.sum((np.array(samples) - mean[p]) ** 2)
            err2[p] = np.sum(np.array(errors) ** 2)
    return {"n": n, "mean": mean, "m2": m2, "err2": err2, "flags": flags}


def reference_fit(
    gain: Array,
    time: Array,
    n: Array,
    mean: Array,
    m2: Array,
    err2: Array,
    single: Array,
    floor: Array,
    weighted: bool,
) -> dict[str, Any]:
    """One pixel's fit with numpy.linalg: arrays of shape (stacks,)."""
    use = n > 0
    X = np.column_stack([np.ones_like(gain), gain, gain * time])[use]
    nothing = {"values": np.zeros(3), "errors": np.full(3, np.nan), "used": int(use.sum())}
    scaled = X / np.linalg.norm(X, axis=0) if use.any() else X
    if use.sum() < 4 or np.linalg.matrix_rank(scaled, tol=1e-6) < 3:
        return nothing
    y, k = mean[use], n[use]
    scatter = np.where(k == 1, single[use], m2[use] / k**2)
    variance = err2[use] / k + scatter
    variance = np.where(variance > 0, variance, floor[use])
    W = 1 / np.sqrt(variance) if weighted else np.ones_like(y)
    values = np.linalg.lstsq(X * W[:, None], y * W, rcond=None)[0]
    residual = y - X @ values
    freedom = len(y) - 3
    s2 = (residual**2).sum() / freedom
    norm = np.linalg.norm(X, axis=0)
    Q = np.linalg.inv((X / norm).T @ (X / norm)) / np.outer(norm, norm)
    sse, ssr = (residual**2).sum(), ((y.mean() - X @ values) ** 2).sum()
    sigma = np.sqrt(np.diag(Q))
    corr = Q / np.outer(sigma, sigma)
    return {
        "values": values,
        "errors": np.sqrt(s2 * np.diag(Q)),
        "corr": np.array([corr[0, 1], corr[0, 2], corr[1, 2]]),
        "chi2": (residual**2 / variance).sum() / freedom,
        "rsq": 1 - (1 - ssr / (sse + ssr)) * (len(y) - 1) / freedom,
        "s2": s2,
        "used": int(use.sum()),
    }
