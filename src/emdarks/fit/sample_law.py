"""The law of a sample by its transform, E exp(s x): of image charge, register charge and rays.

Each part of a sample is a factor of the transform, in closed form:

==================  ===========================================================================
noise               exp(s level + s^2 width^2 / 2)
one electron        psi(s) = sum_n h_n v^n, v = 1 / (1 - s g): the mixture of `one_electron`
image charge        exp(lambda (psi - 1)), a Poisson number of electrons
register charge     exp(r (R - 1)), R = integral of psi at gain g^u over u from 0 to 1: a Poisson
                    number of electrons, made at any stage alike (births with immigration:
                    D. G. Kendall, 1948, Biometrika 35, 6)
rays                1 + a sum_q q^-b psi^q: charges of q electrons in shares a q^-b of the samples
==================  ===========================================================================

What the register makes by exponentials alone has R = 1 - ln((1 - s g) / (1 - s)) / ln g.

Probabilities of bins are Fourier series of the law times exp(-theta x), s = -theta + 2 pi i k /
period: samples one period away weigh exp(-theta period) only (J. Abate and W. Whitt, 1992,
Queueing Systems 10, 5), and ray densities need no end.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.fit.matrix_product import product
from emdarks.one_electron import EXPONENTIAL

Array = npt.NDArray[Any]

#: The order of parameters and derivatives.
PARAMETERS = ("gain", "charge", "register", "level", "width", "rays", "ray_power")
GAIN, CHARGE, REGISTER, LEVEL, WIDTH, RAYS, RAY_POWER = range(len(PARAMETERS))
#: Read noises beyond the bins that belong to the period.
_MARGIN = 12.0
#: The noise leaves no frequencies above so many inverse read noises.
_HIGHEST = 6.5
#: Ray charges that are summed: |psi| is 0.65 at most.
_ELECTRONS = np.arange(1.0, 49.0)
#: Where |psi| is so small, this number of charges is enough.
_SMALL, _FEW = 0.1, 9
#: exp(-theta period) = 1e-9.
_DAMPING = 9 * math.log(10.0)


class Charges(NamedTuple):
    """How the image charge of pixels is distributed.

    Attributes
    ----------
    mixture : ndarray, shape (2, classes)
        Charges of classes of hot pixels, and their shares of the samples.
    ordinary : float
        Share of the ordinary pixels.
    spread : float
        Relative scatter of their charges.
    """

    mixture: Array = np.empty((2, 0))
    ordinary: float = 1.0
    spread: float = 0.0


#: All pixels have the same charge.
ALIKE = Charges()


class SampleLaw:
    """Probabilities of bins, and how they follow the parameters.

    Parameters
    ----------
    edges : ndarray, shape (bins + 1,)
        Edges of the bins, e-.
    noise : float
        About the read noise, e-.
    charges : Charges
        Distribution of the image charge.
    electron : ndarray, shape (5,)
        What one electron becomes (`one_electron`).
    struck : bool
        Whether there are rays.
    """

    def __init__(
        self,
        edges: Array,
        noise: float,
        charges: Charges = ALIKE,
        electron: Array = EXPONENTIAL,
        struck: bool = True,
    ) -> None:
        self.charges, self.electron, self._struck = charges, electron, struck
        self._origin = float(edges[0])
        x = edges - self._origin
        period = 2 * (x[-1] + 2 * _MARGIN * noise)
        count = math.ceil(_HIGHEST / noise * period / (2 * math.pi))
        self._s = -_DAMPING / period + 2j * math.pi / period * np.arange(count + 1)
        powers = np.exp(-np.multiply.outer(x, self._s))
        weights = (powers[:-1] - powers[1:]) * (2 / period) / self._s
        weights[:, 0] *= 0.5
        self._series = np.concatenate([weights.real, -weights.imag], axis=1)

    def expected(self, p: Array) -> tuple[Array, Array]:
        """Probability of each bin, and its derivatives.

        Parameters
        ----------
        p : ndarray, shape (7,)
            `PARAMETERS`: gain, image and register charge (e-/pixel/frame), level and width (e-),
            rays as a and b of shares a q^-b.

        Returns
        -------
        P : ndarray, shape (bins,)
        J : ndarray, shape (bins, 7)
        """
        # Steps of a fit may lead to charges of which nothing is left: no number, no likelihood.
        with np.errstate(all="ignore"):
            rows = self._transform(p)
        found = product(self._series, np.concatenate([rows.real, rows.imag], axis=1).T)
        return found[:, 0], found[:, 1:]

    def _transform(self, p: Array) -> Array:
        """E exp(s x) and its derivatives, shape (8, frequencies)."""
        gain, charge, register, level, width, rays, power = p.tolist()
        s = self._s
        v = 1 / (1 - s * gain)
        psi, by_gain = self._one(v)
        by_gain = by_gain * s
        image, by_psi, by_charge = self._image(psi, charge)
        R, R_by_gain = self._register(v, gain)
        none = np.zeros_like(psi)
        ray_sums = self._rays(psi, power) if self._struck else (none, none, none)
        series, series_by_psi, series_by_power = ray_sums
        struck = 1 + rays * series
        factor = np.exp(s * (level - self._origin + 0.5 * width**2 * s) + register * (R - 1))
        whole = factor * image * struck
        first = factor * (by_psi * struck + image * rays * series_by_psi) * by_gain
        return np.stack(
            [
                whole,
                first + whole * register * R_by_gain,
                factor * by_charge * struck,
                whole * (R - 1),
                whole * s,
                whole * width * s**2,
                factor * image * series,
                factor * image * rays * series_by_power,
            ]
        )

    def _one(self, v: Array) -> tuple[Array, Array]:
        """Psi of one electron, and its derivative with the gain over s."""
        if self.electron[1] == 1.0:
            return v, v * v
        # Horner's rule: complex powers would take most of the time of a fit.
        psi, slope = np.full_like(v, self.electron[-1]), np.zeros_like(v)
        for weight in self.electron[-2::-1]:
            slope = slope * v + psi
            psi = psi * v + weight
        return psi, slope * v * v

    def _image(self, psi: Array, charge: float) -> tuple[Array, Array, Array]:
        """The factor of image charge, and how it follows psi and the ordinary charge."""
        mixture, ordinary, spread = self.charges
        two = np.array([1 - spread, 1 + spread])
        each = np.exp(np.multiply.outer(two * charge, psi - 1)) * (0.5 * ordinary)
        hot = np.exp(np.multiply.outer(mixture[0], psi - 1)) * mixture[1][:, None]
        # No products of vectors: for those of complex numbers, BLAS starts its threads early.
        by_two = two[0] * each[0] + two[1] * each[1]
        by_psi = charge * by_two + (mixture[0][:, None] * hot).sum(axis=0)
        return each.sum(axis=0) + hot.sum(axis=0), by_psi, by_two * (psi - 1)

    def _rays(self, psi: Array, power: float) -> tuple[Array, Array, Array]:
        """The sum over ray charges, and its derivatives with psi and the power."""
        shares = _ELECTRONS**-power
        logs, steps = -np.log(_ELECTRONS) * shares, _ELECTRONS * shares
        rows = np.stack([shares, steps, logs], axis=1)[..., None]
        # High frequencies see few electrons only: psi falls with them.
        near = int(np.count_nonzero(np.abs(psi) > _SMALL))
        found = np.zeros((3, psi.size), complex)
        for row in rows[:_FEW:-1]:
            found[:, :near] *= psi[:near]
            found[:, :near] += row
        for row in rows[_FEW::-1]:
            found *= psi
            found += row
        return found[0] * psi, found[1], found[2] * psi

    def _register(self, v: Array, gain: float) -> tuple[Array, Array]:
        """R, and its derivative with the gain.

        The integrals I_n of v^n over the stages follow each other:
        I_{n+1} = I_n + (v^n - v_1^n) / (n ln g), with v_1 that of gain 1.
        """
        log_gain = math.log(gain)
        v_1 = 1 / (1 - self._s)
        integral = 1 + np.log(v / v_1) / log_gain
        R = self.electron[0] + self.electron[1] * integral
        power, power_1 = np.ones_like(v), np.ones_like(v)
        for n in range(1, self.electron.size - 1):
            power, power_1 = power * v, power_1 * v_1
            integral = integral + (power - power_1) / (n * log_gain)
            R = R + self.electron[n + 1] * integral
        psi, _ = self._one(v)
        return R, (psi - R) / (gain * log_gain)
