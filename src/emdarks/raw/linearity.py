"""The nonlinearity table: factors by EM gain and counts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import _core
from emdarks.errors import InputError

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False, slots=True)
class Linearity:
    """Factors f(g, x) by which counts above the bias are multiplied: y = x f(g, x).

    Linear between the gains of the table at each count, then between counts; constant outside
    (corgidrp 5.1.1, ``correct_nonlinearity``).

    Attributes
    ----------
    gains : ndarray of float64, shape (gains,)
        EM gains, increasing.
    counts : ndarray of float64, shape (counts,)
        DN above the bias, increasing.
    factors : ndarray of float64, shape (counts, gains)
        The table.

    Raises
    ------
    InputError
        The axes do not increase, the shapes differ, or a factor is not above 0.
    """

    gains: Array
    counts: Array
    factors: Array

    def __post_init__(self) -> None:
        for name in ("gains", "counts", "factors"):
            values = np.array(getattr(self, name), np.float64)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        for name in ("gains", "counts"):
            axis = getattr(self, name)
            if axis.ndim != 1 or axis.size == 0 or not np.isfinite(axis).all():
                raise InputError(f"nonlinearity: its {name} must be a line of finite numbers")
            if (np.diff(axis) <= 0).any():
                raise InputError(f"nonlinearity: its {name} must increase")
        shape = self.counts.size, self.gains.size
        if self.factors.shape != shape:
            raise InputError(
                f"nonlinearity: the factors have shape {self.factors.shape}, the axes {shape}"
            )
        if not (np.isfinite(self.factors).all() and (self.factors > 0).all()):
            raise InputError("nonlinearity: a factor is not above 0")

    @classmethod
    def from_table(cls, table: npt.ArrayLike) -> Linearity:
        """Of a table with gains in its first row and counts in its first column."""
        values = np.asarray(table, np.float64)
        if values.ndim != 2 or min(values.shape) < 2:
            raise InputError(f"nonlinearity: a table of shape {values.shape} has no factors")
        return cls(values[0, 1:], values[1:, 0], values[1:, 1:])

    @property
    def identity(self) -> str:
        """What tells the table from others."""
        digest = hashlib.blake2b(digest_size=8)
        for values in (self.gains, self.counts, self.factors):
            digest.update(values.tobytes())
        return digest.hexdigest()

    def at_gain(self, gain: float) -> Array:
        """Factors at an EM gain, shape (counts,)."""
        last = self.gains.size - 1
        within = min(max(gain, float(self.gains[0])), float(self.gains[last]))
        i = min(int(np.searchsorted(self.gains, within, side="right")) - 1, max(last - 1, 0))
        if last == 0:
            return np.ascontiguousarray(self.factors[:, 0])
        slope = (self.factors[:, i + 1] - self.factors[:, i]) / (self.gains[i + 1] - self.gains[i])
        return np.ascontiguousarray(self.factors[:, i] + slope * (within - self.gains[i]))

    def curve(self, gain: float) -> _core.LinearityCurve:
        """The same for the compiled core."""
        return _core.LinearityCurve(self.counts, self.at_gain(gain))
