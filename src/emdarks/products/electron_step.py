"""What one average electron of one sample does to maps, and to darks made of them.

The noise of a pixel comes in such steps. Maps of the reference have no table STACKS, but their
HISTORY names the stacks of the fit, and darks made of the maps inherit it.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


class FittedStacks(NamedTuple):
    """Stacks of a fit.

    Attributes
    ----------
    gain, time, good : ndarray, shape (stacks,)
        EM gain, exposure time (s), mean number of good frames of a pixel.
    weight : ndarray, shape (stacks,)
        With which a stack's mean entered the fit.
    """

    gain: Array
    time: Array
    good: Array
    weight: Array


def stacks_of_table(table: Any) -> FittedStacks | None:
    """Those of a table STACKS; None where none has good frames."""
    gain, time, good, variance = (
        np.asarray(table[name], dtype=np.float64)
        for name in ("EMGAIN", "EXPTIME", "GOOD", "VARIANCE")
    )
    used = good > 0
    if not used.any():
        return None
    known = bool((variance[used] > 0).all())  # not where frames have no noise
    weight = good[used] / (variance[used] if known else 1.0)
    return FittedStacks(gain[used], time[used], good[used], weight)


def stacks_in_history(header: Any) -> FittedStacks | None:
    """Those that HISTORY names; None where it names none.

    It names them as the reference does: [[exposure time, EM gain, good frames], ...]. Their
    weights are the numbers of frames squared, as the reference has them since its fifth version.
    """
    text = "".join(str(line) for line in header.get("HISTORY", ()))
    lists = re.findall(r"\[\[[-+.\de, \[\]]+\]\]", text)
    try:
        rows = np.array(json.loads(lists[-1]) if lists else [], dtype=np.float64)
    except ValueError:  # somebody cut or changed it
        return None
    if rows.ndim != 2 or rows.shape[1] != 3:
        return None
    time, gain, good = rows[(rows[:, 1] >= 1) & (rows[:, 2] > 0)].T
    return FittedStacks(gain, time, good, good**2) if good.size else None


def electron_step(stacks: FittedStacks, present: npt.ArrayLike, weights: npt.ArrayLike) -> float:
    """What one average electron of one sample does to a combination of F, C and D.

    Parameters
    ----------
    stacks : FittedStacks
        The stacks.
    present : array_like of bool, shape (3,)
        Which of F, C and D were fitted.
    weights : array_like, shape (3,)
        Of F, C and D in the combination.

    Returns
    -------
    float
        The largest over the stacks of (weights . G_i) g_i / n_i, where G is the linear map from
        the stacks' means to F, C and D, and n_i the number of good frames.
    """
    gain = stacks.gain
    root = np.sqrt(stacks.weight)
    matrix = np.column_stack([np.ones_like(gain), gain, gain * stacks.time])
    matrix[:, ~np.asarray(present, dtype=bool)] = 0.0
    to_fit = np.linalg.pinv(matrix * root[:, None]) * root
    steps = np.asarray(weights, dtype=np.float64) @ to_fit * gain / stacks.good
    return float(max(steps.max(), 0.0))
