"""The table of stacks of noise maps, and what its numbers say about the fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.checks.formatting import setting
from emdarks.fit.noise_model import HOT_JUMP, IDEAL_KAPPA
from emdarks.products.model import absent_planes

Array = npt.NDArray[Any]

#: Share of a stack's variance that read noise, or the register's noise, must have to be
#: measured by that stack.
MEASURED = 0.5


def stack_name(gain: float, exposure_time: float) -> str:
    """A stack in words."""
    return f"EM gain {setting(gain)}, {setting(exposure_time)} s"


@dataclass(frozen=True, slots=True)
class Misfits:
    """How each stack agrees with the others, image means in EM electrons.

    Attributes
    ----------
    value : ndarray, shape (stacks,)
        Image mean of the stack minus what all other stacks predict.
    error : ndarray, shape (stacks,)
        Its standard error.
    """

    value: Array
    error: Array

    @property
    def sigmas(self) -> Array:
        """Values in standard errors; NaN where nothing tells."""
        out: Array = np.divide(
            self.value, self.error, where=self.error > 0, out=np.full_like(self.value, np.nan)
        )
        return out


def _weight_power(header: Any) -> int | None:
    if not header.get("WEIGHTED", True):
        return 0
    power = header.get("WGTPOWER")
    return None if power is None else int(power)


@dataclass(frozen=True)
class Stacks:
    """Columns of the table ``STACKS``, each of shape (stacks,); NaN where a product has none.

    Attributes
    ----------
    gain, commanded_gain, time, k_gain : ndarray
        EM gain used and asked for, exposure time (s), electrons per DN.
    frames, good : ndarray
        Frames, and good ones at an average pixel.
    variance : ndarray
        Variance of a sample, pooled over pixels, EM electrons squared.
    residual : ndarray
        Image mean of the stack minus that of the fit, EM electrons.
    read_noise, excess : ndarray
        What the stack alone gives for the noise model, the other one fixed.
    weight_power : int or None
        Power of the number of good samples that was the weight of a stack; 0 where all counted
        alike, None where weights were those of the noise.
    absent : ndarray of bool, shape (3,)
        Which of F, C and D they cannot tell.
    """

    gain: Array
    commanded_gain: Array
    time: Array
    k_gain: Array
    frames: Array
    good: Array
    variance: Array
    residual: Array
    read_noise: Array
    excess: Array
    weight_power: int | None
    absent: Array = field(default_factory=lambda: np.zeros(3, dtype=bool))

    @classmethod
    def of(cls, product: Any) -> Stacks | None:
        """Read the table of a product; None where it has none."""
        if "STACKS" not in product.hdu_names:
            return None
        table = product.hdu_list["STACKS"].data
        known = set(table.names)

        def column(name: str) -> Array:
            if name not in known:
                return np.full(len(table), np.nan)
            return np.array(table[name], dtype=np.float64)

        return cls(
            gain=column("EMGAIN"),
            commanded_gain=column("EMGAIN_C"),
            time=column("EXPTIME"),
            k_gain=column("KGAINPAR"),
            frames=column("FRAMES"),
            good=column("GOOD"),
            variance=column("VARIANCE"),
            residual=column("RESIDUAL"),
            read_noise=column("READNOIS"),
            excess=column("EXCESS"),
            weight_power=_weight_power(product.ext_hdr),
            absent=absent_planes(product.ext_hdr),
        )

    def __len__(self) -> int:
        return len(self.gain)

    @property
    def names(self) -> list[str]:
        """The stacks in words."""
        return [stack_name(gain, time) for gain, time in zip(self.gain, self.time, strict=True)]

    @cached_property
    def _design(self) -> Array:
        X = np.column_stack([np.ones_like(self.gain), self.gain, self.gain * self.time])
        X[:, self.absent] = 0.0
        return X

    @cached_property
    def solution(self) -> Array:
        """G, shape (3, stacks): F, C and D of an average pixel are G times the stacks' means.

        NaN where the stacks cannot be fitted, or their variances are not known.
        """
        power = self.weight_power
        weight = self.good / self.variance if power is None else self.good**power
        if not (np.isfinite(weight) & (weight > 0)).all():
            return np.full((3, len(self)), np.nan)
        X = self._design
        scale = np.where(self.absent, 1.0, np.abs(X).max(axis=0))
        root = np.sqrt(weight)
        G: Array = np.linalg.pinv(X / scale * root[:, None]) * root / scale[:, None]
        return G

    @property
    def electron(self) -> Array:
        """What the tail of one electron's gain does to F, C and D, shape (3,).

        Method page, eq. 3 (hot): 9.2 J. A pixel that differs by less may have caught one
        electron by chance.
        """
        kappa = self.kappa
        jump = np.abs(self.solution) * self.gain * kappa / 2 / np.maximum(self.good, 1)
        tail: Array = HOT_JUMP * jump.max(axis=1)
        return np.where(np.isfinite(tail), tail, 0.0)

    def misfits(self, pixels: int, above: tuple[float, float]) -> Misfits:
        """Image means against the fit of all other stacks.

        Parameters
        ----------
        pixels : int
            Pixels that the image means were taken over.
        above : tuple of float
            Image means of C and D above those of the ordinary pixels, from which the
            pooled variances come: hot pixels are noisier.
        """
        hot_charge = np.maximum(above[0] + self.time * above[1], 0.0)
        variance = self.variance + self.kappa * self.gain**2 * hot_charge
        v = variance / np.maximum(self.good, 1) / max(pixels, 1)
        P = self._design @ self.solution
        left = 1 - np.diag(P)
        error = np.sqrt(((np.eye(len(self)) - P) ** 2 * v).sum(axis=1))
        # A stack that alone determines a parameter cannot be predicted by the others.
        left = np.where(left > 1e-6, left, np.nan)
        return Misfits(self.residual / left, error / left)

    @property
    def kappa(self) -> float:
        """Excess noise, from the stacks that can tell; that of an ideal register otherwise."""
        measured = self.excess[self.tells_excess]
        return float(np.median(measured)) if measured.size else IDEAL_KAPPA

    @property
    def read_noise_share(self) -> Array:
        """Share of the read noise in each stack's variance."""
        known = self.read_noise[np.isfinite(self.read_noise) & (self.gain < 2)]
        level = float(np.median(known)) if known.size else np.nan
        if not np.isfinite(level):
            # The least noisy stack has little else.
            level = float(np.sqrt(np.nanmin(self.variance)))
        share: Array = np.minimum(level**2 / self.variance, 1.0)
        return share

    @property
    def tells_read_noise(self) -> Array:
        """Stacks whose scatter is mostly read noise."""
        tells: Array = np.isfinite(self.read_noise) & (self.read_noise_share > MEASURED)
        return tells

    @property
    def tells_excess(self) -> Array:
        """Stacks whose scatter is mostly that of the gain register."""
        tells: Array = np.isfinite(self.excess) & (self.read_noise_share < 1 - MEASURED)
        return tells

    def signal(self, C: float, D: float) -> Array:
        """G sqrt(C + t D), EM electrons: the root of what the register's noise grows with."""
        charge: Array = np.maximum(C + self.time * D, 0.0)
        return self.gain * np.sqrt(charge)
