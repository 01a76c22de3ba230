"""Kernels of the fits, each by itself: formulas of the method page written out again, few pixels,
every kind of array, and the same bits at every instruction level."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from validation.moments import draw_stacks, draw_truth, grid

import pooled_oracle
from emdarks import _core
from emdarks._core import COUNTS, EQUAL, HOT, POOLED, SQUARES, UNFITTED, FitData
from loops import for_each

PIXELS = 203


@dataclass
class Case:
    """Stacks, and what the sweeps are told of their noise; ``scale`` is the unit of the frames."""

    kind: int = POOLED
    err: bool = False
    has_c: bool = True
    has_d: bool = True
    d_everywhere: bool = False
    onset: tuple[float, float] = (0.0, 0.0)
    kappa: float = 1.7
    scale: float = 1.0
    gain_error: float = 0.0
    counts: Any = np.uint16
    flags: Any = np.uint16
    pixels: int = PIXELS
    arrays: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(5)
        gain, time = grid("m9")
        if not self.has_c:
            gain = np.full(9, 100.0)
        if not self.has_d:
            time = np.full(9, 20.0)
        known = draw_truth(rng, "gamma4", PIXELS, hot=0.05)
        bright = np.where(np.arange(PIXELS) % 7 == 4, np.linspace(0, 5, PIXELS), 0)
        known = replace(known, C=known.C + bright)
        store = draw_stacks(rng, gain, time, 120, known, masked=0.05).store
        imaging = np.arange(PIXELS) % 29 < 18
        store.m2[2, ::9] *= 9  # noisier than any model of them
        store.n[:, 11] = 0
        store.n[:-2, 12] = 0
        store.n[rng.random(store.n.shape) < 0.02] = 1  # once good
        store.m2[store.n < 2] = 0.0
        store.mean[store.n == 0] = 1e6  # whatever it is, it counts nothing
        flags = np.where(store.n == 0, rng.choice([4, 64], store.n.shape), 2)
        c2 = self.scale**2
        v = 120.0**2 + self.kappa * gain**2 * (0.02 + 8e-4 * time)
        least = self.pixels
        self.arrays = {
            "gain": gain,
            "time": time,
            "n": np.ascontiguousarray(store.n[:, :least].astype(self.counts)),
            "mean": np.ascontiguousarray(self.scale * store.mean[:, :least]),
            "m2": np.ascontiguousarray(c2 * store.m2[:, :least]),
            "err2": None,
            "flags": np.ascontiguousarray(flags[:, :least].astype(self.flags)),
            "imaging": imaging[:least],
        }
        if self.err:
            errors = rng.uniform(10, 100, store.n.shape) ** 2 * store.n
            self.arrays["err2"] = np.ascontiguousarray(c2 * errors[:, :least])
        self.noise: dict[str, Any] = {
            "v": c2 * np.array([1.1 * v, v]),
            "kappa": self.scale * np.full(2, self.kappa),
            "kind": np.full(2, self.kind),
            "floor": c2 * np.array([0.11 * v, 0.1 * v]),
            "prior_mean": self.scale * np.array([[0.02, 0.0], [0.02, 8e-4]]),
            "intrinsic": c2 * np.array([[1e-5, 0.0], [1e-5, 1e-7]]),
            "onset": np.array([self.onset, self.onset]),
        }
        v0 = self.noise["v"]
        rank = np.zeros(least, np.int8)
        self.sums = np.empty((2, 9, 2))
        self.used, self.dq = np.zeros(least, np.int16), np.zeros(least, self.flags)
        data = self.data
        _core.survey(0, least, data, rank, self.used, self.dq, self.sums)
        self.values, scale, jump = (np.zeros((k, least)) for k in (3, 2, 2))
        _core.first_sweep(0, least, data, v0, self.values, scale, jump)
        self.first, self.u2, self.jump = self.values.copy(), scale, jump
        far = (self.values[1:] - self.scale * np.array([[0.02], [8e-4]])) ** 2 > 60 * scale
        hot = far & (
            [[self.has_c], [self.has_d]] & (self.arrays["imaging"] | [[True], [self.d_everywhere]])
        )
        hot = hot.any(axis=0) & (rank >= 0)
        self.group = np.where(hot, rank + HOT, rank).astype(np.int8)
        at = np.flatnonzero(hot)
        excess = (
            self.values[1:, at] - self.noise["prior_mean"][self.arrays["imaging"][at].astype(int)].T
        )
        fitted = [[self.has_c], [self.has_d]] & (
            self.arrays["imaging"][at] | [[True], [self.d_everywhere]]
        )
        self.noise |= {"hot": at, "excess": np.ascontiguousarray(np.where(fitted, excess, 0.0))}

    @property
    def data(self) -> FitData:
        return FitData(
            **self.arrays, has_c=self.has_c, has_d=self.has_d, d_everywhere=self.d_everywhere
        )

    def second(self, lo: int = 0, hi: int | None = None) -> Any:
        """F, C, D; error variances; sums of slopes."""
        values, own, out = self.first.copy(), np.full((2, self.pixels), -7.0), np.empty((2, 2))
        tables = _core.NoiseTables(**self.noise)
        hi = self.pixels if hi is None else hi
        _core.second_sweep(lo, hi, self.data, self.group, tables, values, own, out)
        return values, own, out

    def final(self, lo: int = 0, hi: int | None = None) -> dict[str, Any]:
        """All that the last sweep gives."""
        planes = self.second()[0], *(np.full((3, self.pixels), -7.0) for _ in range(2))
        quality = np.full((2, self.pixels), -7.0)
        moved = np.empty((10, 3))
        _core.final_sweep(
            lo,
            self.pixels if hi is None else hi,
            self.data,
            self.group,
            _core.NoiseTables(**self.noise),
            self.gain_error,
            self.used,
            *planes,
            *quality,
            moved,
        )
        names = ("values", "errors", "correlations", "chi2", "r_squared", "moved")
        return dict(zip(names, (*planes, *quality, moved), strict=True))


def region_of(case: Case, z: int) -> SimpleNamespace:
    """One region's pixels and the fit with its weights, slowly."""
    a, t = case.arrays, {name: each[z] for name, each in case.noise.items() if len(each) == 2}
    at = np.flatnonzero((a["imaging"] == bool(z)) & (case.group >= 0))
    gain, time = a["gain"], a["time"]
    which = [0] + [1] * case.has_c + [2] * (case.has_d and (z == 1 or case.d_everywhere))
    X = np.column_stack([np.ones(9), gain, gain * time])[:, which]
    n = a["n"][:, at].astype(float)
    q = pooled_oracle.share(1.0, n)
    s = np.zeros_like(n) if a["err2"] is None else a["err2"][:, at] * q**2
    charge = np.zeros((2, case.pixels))
    charge[:, case.noise["hot"]] = case.noise["excess"]
    per = np.column_stack([np.ones(9), time])
    excess = np.maximum(t["kappa"] * (gain**2)[:, None] * (per @ charge[:, at]), 0)
    inverse = pooled_oracle.share(1.0, (t["v"][:, None] + excess) * q + s)
    w = {EQUAL: (n > 0) * 1.0, COUNTS: n, POOLED: inverse, SQUARES: n**2}[case.kind]
    y = np.where(n > 0, a["mean"][:, at], 0.0)
    beta, G = pooled_oracle.solve(X, w, y)
    return SimpleNamespace(
        at=at, gain=gain, n=n, q=q, s=s, m2=a["m2"][:, at], per=per, X=X, w=w, y=y, beta=beta,
        G=G, which=which, cold=case.group[at] == z, **t,
    )  # fmt: skip


def offset_of(r: Any, k: int, V: Any) -> Any:
    """Equations 6 (shrinkage) and 7 (kappa) of the method page."""
    row, g, c_level = r.which.index(k), r.gain[:, None], r.prior_mean[k - 1]
    G, S2, onset = r.G[row], r.intrinsic[k - 1], r.onset[k - 1]
    e2 = (G**2 * (V * r.q + r.s)).sum(axis=0)
    c = (G**2 * r.kappa * g**2 * r.per[:, k - 1][:, None] * r.q).sum(axis=0) / e2
    charge = np.maximum(r.per @ r.prior_mean, 0)[:, None]
    mu3 = (G**3 * 1.5 * r.kappa**2 * g**3 * charge * r.q**2).sum(axis=0)
    jump = (np.maximum(G, 0) * g * r.kappa / 2 * r.q).max(axis=0)
    x, b = r.beta[row] - c_level, onset * (S2 / (S2 + e2)) ** 0.4
    width = np.sqrt(S2 + e2)
    near, end = 3 * width + 4.6 * jump, 5 * width + 9.2 * jump
    far = pooled_oracle.ramp((x - near) / (end - near))
    more = c**2 * (b**2 * (S2 + 3 * e2) - b * S2) - c * b * mu3 / e2
    K = 1 + np.maximum(more, 0) * (1 - far)
    moved = np.maximum((b + (1 - b) * far) * x * K + (K - 1) / c, -max(c_level, 0))
    return np.where((x <= 0) & (onset == 0), 0.0, moved)


def variances(r: Any) -> tuple[Any, Any, Any]:
    """V of every stack and pixel, offsets of C and D, and where the own scatter counts."""
    offsets = np.zeros((2, r.at.size))
    V = np.repeat(r.v[:, None], r.at.size, axis=1)
    for k in (2, 1) if r.kappa > 0 else ():
        if k in r.which:
            offsets[k - 1] = offset_of(r, k, V)
            more = r.kappa * (r.gain**2)[:, None] * (r.per @ offsets)
            V = np.maximum(r.v[:, None] + more, r.floor[:, None])
    own = pooled_oracle.own_scatter(r, V, r.per @ (r.prior_mean[:, None] + offsets), r.kappa)
    return own, offsets, own > V * (1 + 1e-9)


CASES = [
    Case(),
    Case(err=True, counts=np.uint32, flags=np.uint8),
    Case(onset=(0.0, 1.0), flags=np.uint64),
    Case(onset=(0.7, 0.3), err=True, flags=np.uint32),
    Case(onset=(0.0, 0.4), gain_error=0.02),
    Case(kind=EQUAL),
    Case(kind=EQUAL, onset=(0.5, 0.0), err=True),
    Case(kind=COUNTS, counts=np.uint32),
    Case(kappa=0.0),
    Case(scale=1e-3, onset=(0.2, 0.9)),
    Case(scale=100.0, err=True, kind=COUNTS, onset=(1.0, 1.0)),
    Case(has_c=False),
    Case(has_c=False, onset=(0.0, 0.8), err=True),
    Case(has_d=False, onset=(0.9, 0.0)),
    Case(has_d=False, kind=EQUAL, gain_error=0.1),
    Case(kind=SQUARES, d_everywhere=True),
    Case(kind=SQUARES, d_everywhere=True, onset=(0.3, 0.6), err=True, gain_error=0.01),
    Case(kind=COUNTS, d_everywhere=True, onset=(0.0, 0.5)),
]


def name_of(case: Case) -> str:
    found = Case.__dataclass_fields__
    return " ".join(
        f"{key}={getattr(case, key)}"
        for key in found
        if key not in ("arrays", "counts", "flags") and getattr(case, key) != found[key].default
    )


@for_each("case", CASES, ids=name_of)
def test_the_second_fit_by_formula(case: Case) -> None:
    values, own, slopes = case.second()
    for z in (0, 1):
        r = region_of(case, z)
        error = np.sqrt(np.einsum("aip,aip->ap", r.G, r.G * (r.v[:, None] * r.q + r.s)))
        assert (np.abs(values[r.which][:, r.at] - r.beta) < 1e-9 * error).all()
        for k in (1, 2):
            if k not in r.which:
                assert slopes[z, k - 1] == 0
                continue
            G2 = r.G[r.which.index(k)][:, r.cold] ** 2
            variance = (G2 * (r.v[:, None] * r.q + r.s)[:, r.cold]).sum(axis=0)
            np.testing.assert_allclose(own[k - 1, r.at[r.cold]], variance, rtol=1e-10)
            each = r.kappa * r.gain**2 * r.per[:, k - 1]
            slope = (G2 * each[:, None] * r.q[:, r.cold]).sum()
            np.testing.assert_allclose(slopes[z, k - 1], slope, rtol=1e-10)


@for_each("case", CASES, ids=name_of)
def test_the_last_sweep_by_formula(case: Case) -> None:
    found = case.final()
    moved, pixels = np.zeros((9, 3)), 0
    for z in (0, 1):
        r = region_of(case, z)
        V, offsets, odd = variances(r)
        # What no case takes would not be compared with anything.
        assert odd.any()
        assert (~r.cold).any() == (len(r.which) > 1)
        for k in set(r.which) - {0}:
            assert (offsets[k - 1] != 0).any() == (case.kappa > 0)
        full = np.zeros((3, r.at.size))
        full[r.which] = r.beta
        g = r.gain[:, None] * case.has_c
        signal = g * (full[1] + r.per[:, 1:] * full[2])
        variance = (V * r.q + r.s + (case.gain_error * signal) ** 2) * (r.n > 0)
        covariance = np.einsum("aip,ip,bip->abp", r.G, variance, r.G)
        sigma = np.zeros((3, r.at.size))
        sigma[r.which] = np.sqrt(np.einsum("aap->ap", covariance))
        np.testing.assert_allclose(found["errors"][:, r.at], sigma, rtol=1e-10)
        for j, (a, b) in enumerate(((0, 1), (0, 2), (1, 2))):
            if a in r.which and b in r.which:
                both = covariance[r.which.index(a), r.which.index(b)] / (sigma[a] * sigma[b])
                np.testing.assert_allclose(found["correlations"][j, r.at], both, atol=1e-10)
            else:
                assert (found["correlations"][j, r.at] == 0).all()
        used = (r.n > 0).sum(axis=0)
        freedom = used - len(r.which)
        residual = (r.y - r.X @ r.beta) * (r.n > 0)
        total = (r.w * (r.y - (r.w * r.y).sum(axis=0) / r.w.sum(axis=0)) ** 2).sum(axis=0)
        share = 1 - (r.w * residual**2).sum(axis=0) / total * (used - 1) / freedom
        np.testing.assert_allclose(found["r_squared"][r.at], share, rtol=1e-8, atol=1e-8)
        by_noise = (
            pooled_oracle.share(1.0, r.v[:, None] * r.q + r.s) if case.kind != POOLED else r.w
        )
        chi2 = (by_noise * residual**2).sum(axis=0) / freedom
        np.testing.assert_allclose(found["chi2"][r.at], chi2, rtol=1e-8)
        if z == 1:
            h = r.gain[:, None] * r.per[:, 1:] * case.has_d
            moved[:, r.which] = -np.einsum("aip,ip->ia", r.G, g * full[1] + h * full[2])
            pixels = r.at.size
    np.testing.assert_allclose(found["moved"][:-1], moved, rtol=1e-7, atol=1e-12)
    assert (found["moved"][-1] == pixels).all()
    lost = case.group == UNFITTED
    assert lost.any()
    assert (found["values"][:, lost] == 0).all()
    assert (found["correlations"][:, lost] == 0).all()
    assert np.isnan(
        [*found["errors"][:, lost], found["chi2"][lost], found["r_squared"][lost]]
    ).all()
    gone = np.bitwise_or.reduce(
        np.where(case.arrays["n"] == 0, case.arrays["flags"], 0).astype(case.flags), axis=0
    )
    np.testing.assert_array_equal(case.dq, np.where(lost, np.where(gone > 0, gone, 1), 0))


def test_pools_are_those_of_numpy() -> None:
    case = Case(counts=np.uint32)
    out = np.empty((2, 9, 2))
    _core.pool_sweep(0, PIXELS, case.data, case.group, out)
    imaging, n, m2 = (case.arrays[name] for name in ("imaging", "n", "m2"))
    for z in (0, 1):
        for sums, where in ((case.sums, case.group >= 0), (out, case.group == z)):
            v, freedom = pooled_oracle.pool(m2, n.astype(float), where & (imaging == bool(z)))
            np.testing.assert_array_equal(sums[z, :, 1], freedom)
            np.testing.assert_allclose(sums[z, :, 0], v * freedom, rtol=1e-13)


@for_each("size", [1, 7, 8, 9, 17])
@for_each("lo", [0, 3, 20])
def test_bands_of_any_size(size: int, lo: int) -> None:
    """The same numbers, up to rounding, as in a longer band; other pixels stay as they are."""
    case = Case(onset=(0.0, 0.5), err=True)
    band, others = slice(lo, lo + size), np.r_[0:lo, lo + size : PIXELS]
    whole, part = case.final(), case.final(lo, lo + size)
    for name in ("values", "errors", "correlations", "chi2", "r_squared"):
        np.testing.assert_allclose(
            part[name][..., band], whole[name][..., band], rtol=1e-12, atol=1e-15
        )
        if name != "values":
            assert (part[name][..., others] == -7).all()
    short = Case(onset=(0.0, 0.5), err=True, pixels=size)
    np.testing.assert_allclose(short.final()["errors"], whole["errors"][:, :size], rtol=1e-12)


def test_an_empty_band_does_nothing() -> None:
    case = Case()
    assert (case.final(5, 5)["errors"] == -7).all()
    assert (case.final(5, 5)["moved"] == 0).all()


# Arguments


@for_each(
    "changes, error, said",
    [
        (
            {"gain": np.ones(9, np.float32)},
            TypeError,
            "gain must be a C-contiguous array of float64",
        ),
        ({"time": np.ones(8)}, ValueError, r"time must have shape \(9,\)"),
        ({"n": np.ones((9, PIXELS), np.int16)}, TypeError, "n must be unsigned integers"),
        ({"n": np.ones((9, PIXELS), np.uint8)}, TypeError, "n must be uint16 or uint32"),
        ({"n": np.ones((8, PIXELS), np.uint16)}, ValueError, r"n must have shape \(9, any\)"),
        ({"mean": np.ones((9, 3))}, ValueError, rf"mean must have shape \(9, {PIXELS}\)"),
        ({"m2": np.ones((PIXELS, 9)).T}, TypeError, "m2 must be a C-contiguous array of float64"),
        ({"m2": None}, TypeError, "incompatible function arguments"),
        ({"err2": np.ones(9)}, ValueError, rf"err2 must have shape \(9, {PIXELS}\)"),
        ({"flags": np.ones((9, PIXELS))}, TypeError, "flags must be unsigned integers"),
        ({"imaging": np.ones(PIXELS)}, TypeError, "imaging must be a C-contiguous array of bool"),
        ({"imaging": np.ones(4, bool)}, ValueError, rf"imaging must have shape \({PIXELS},\)"),
    ],
)
def test_stacks_that_do_not_fit_together(changes: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        FitData(**Case().arrays | changes)


@for_each(
    "changes, error, said",
    [
        ({"kind": np.array([0, 4])}, ValueError, "kind must be EQUAL, COUNTS, POOLED or SQUARES"),
        ({"kind": np.array([0.0, 1.0])}, TypeError, "kind must be a C-contiguous array of int64"),
        ({"floor": np.ones((2, 8))}, ValueError, r"floor must have shape \(2, 9\)"),
        ({"hot": np.array([3, 3])}, ValueError, "hot must ascend"),
        ({"excess": np.ones((2, 1))}, ValueError, r"excess must have shape \(2, "),
        ({"v": np.ones((2, 8)), "floor": np.ones((2, 8))}, ValueError, r"v must have shape \(2, 9"),
    ],
)
def test_noise_that_does_not_fit(changes: Any, error: Any, said: str) -> None:
    case = Case()
    case.noise |= changes
    with pytest.raises(error, match=said):
        case.second()


def test_planes_that_do_not_fit() -> None:
    case = Case()
    group, used, dq, out = case.group, case.used, case.dq, np.empty((2, 9, 2))
    for lo, hi in ((-1, 3), (4, 3), (0, PIXELS + 1)):
        with pytest.raises(ValueError, match="lo and hi must be a range"):
            _core.survey(lo, hi, case.data, group, used, dq, out)
    for name, arrays in {
        "group": (group[:-1], used, dq, out),
        "stacks_used": (group, used.astype(np.int64), dq, out),
        "dq": (group, used, dq[::2], out),
        "out": (group, used, dq, out[:1]),
    }.items():
        with pytest.raises((TypeError, ValueError), match=name):
            _core.survey(0, PIXELS, case.data, *arrays)
    dq.flags.writeable = False
    with pytest.raises(TypeError, match="dq"):
        _core.survey(0, PIXELS, case.data, group, used, dq, out)


# Bits


def digest() -> str:
    """Of all that the kernels give for all cases."""
    made = hashlib.sha256()
    for case in CASES:
        case = replace(case)
        parts = [*case.second(), *case.final().values(), case.group, case.sums, case.dq]
        for part in [*parts, case.first, case.u2, case.jump]:
            made.update(np.ascontiguousarray(part).tobytes())
        data, results = case.data, [np.empty((3, PIXELS)) for _ in range(3)]
        results += [np.empty(PIXELS) for _ in range(3)]
        ones, least = np.ones(9), np.empty(9)
        for weighted in (True, False):
            moved = np.empty((10, 3))
            used, dq = case.used.copy(), case.dq.copy()
            _core.reference_fit(0, PIXELS, data, ones, ones, weighted, *results, used, dq, moved)
            for part in (*results, used, dq, moved):
                made.update(part.tobytes())
        _core.smallest_variance(0, PIXELS, data, ones, least)
        made.update(least.tobytes())
    return made.hexdigest()
