"""How to share a budget of time over pairs of EM gain and exposure time.

To minimise the variance c' (sum n_i a_i x_i x_i')^-1 c of one linear function of F, C and D
over the numbers of frames n_i is a c-optimal design (Pukelsheim, *Optimal Design of
Experiments*, 1993, chapter 2); it is convex in the n_i. The shares are optimised as real
numbers by SciPy, around a few frames that make the campaign fittable; then they become
whole frames, and frames are exchanged between pairs as long as that helps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks._core import PIVOT, design_rank
from emdarks.arguments import is_number, is_whole
from emdarks.cameras import NoiseFigures
from emdarks.errors import InputError
from emdarks.plan.design import (
    MOST,
    PlannedStack,
    Readout,
    as_stacks,
    check_design,
    check_noise,
    information,
)
from emdarks.plan.prediction import Goal, Prediction, goal_name, goal_vector, predict
from emdarks.stacks.campaign import MIN_STACKS

__all__ = ["LEAST_FRAMES", "Suggestion", "share_budget"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

#: Frames of a stack that is taken at all: the scatter of fewer tells no error.
LEAST_FRAMES = 2
#: An exchange of frames must lower the variance by this much, relative.
GAIN_OF_EXCHANGE = 1e-7
MOST_EXCHANGES = 2000


@dataclass(frozen=True)
class Suggestion:
    """How to share a budget.

    Attributes
    ----------
    goal : str
        What is minimised: the error of F, C, D, or of dark:GAIN,TIME.
    budget : float
        Seconds, overhead included.
    prediction : Prediction
        The suggested campaign and its errors. Pairs that don't help are not in it.
    equal : Prediction or None
        The same number of frames of every pair instead; None where the budget does not
        buy 2 each.
    """

    goal: str
    budget: float
    prediction: Prediction
    equal: Prediction | None

    @property
    def error(self) -> float:
        """Standard error of the goal."""
        return self.prediction.error_of(self.goal)

    @property
    def equal_error(self) -> float | None:
        """Standard error of the goal with the same number of frames of every pair."""
        return None if self.equal is None else self.equal.error_of(self.goal)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dictionaries, with units in the names."""
        return {
            "goal": self.goal,
            "goal_error": self.error,
            "budget_s": self.budget,
            "suggested": self.prediction.as_dict(),
            "equal_goal_error": self.equal_error,
            "equal": None if self.equal is None else self.equal.as_dict(),
        }


def share_budget(
    pairs: Sequence[tuple[float, float]],
    budget: float,
    noise: NoiseFigures,
    overhead: float = 0.0,
    goal: Goal = "D",
    darks: Sequence[tuple[float, float]] = (),
    *,
    least: int = 0,
    readout: Readout | None = None,
) -> Suggestion:
    """Suggest how many frames to take of each pair of EM gain and exposure time.

    Parameters
    ----------
    pairs : sequence of (gain, exposure time in s)
        What may be taken. Those that don't help get no frames; at least 4 remain, with
        2 frames or more, which can be fitted.
    budget : float
        Seconds for the whole campaign, overhead included. Never exceeded.
    noise : NoiseFigures
        Read noise, C and D of the pixel, and the full wells.
    overhead : float
        Seconds per frame on top of the exposure.
    goal : str or tuple of float
        The error to be minimised: "F", "C", "D", or that of a synthesised dark, "dark:G,T"
        or (gain, exposure time in s).
    darks : sequence of (gain, exposure time in s)
        Synthesised darks whose errors are wanted in the result.
    least : int
        Frames that every pair gets in any case, 0 or at least 2. A campaign that is best
        for one goal is poor for others, and with 4 stacks little checks the model: this is
        how to keep it broad.
    readout : Readout, optional
        Excess noise and samples lost to cosmic rays; kappa = 2 and none by default.

    Returns
    -------
    Suggestion

    Raises
    ------
    InputError
        The pairs cannot be fitted or taken (see the message), the budget is too small, or
        an argument makes no sense.

    Notes
    -----
    The real-valued optimum is global, since the problem is convex; the whole numbers of
    frames are such that no exchange between two pairs betters them. Time that would not
    lower the error is left.

    Examples
    --------
    >>> from emdarks import load_camera
    >>> from emdarks.plan import share_budget
    >>> pairs = [(gain, time) for gain in (1, 5000) for time in (2, 100)]
    >>> suggestion = share_budget(pairs, 20400.0, load_camera("excam").noise, goal="D")
    >>> suggestion.error < suggestion.equal_error
    True
    """
    readout = readout or Readout()
    stacks = as_stacks([(*pair, 1) for pair in pairs])
    check_noise(noise)
    check_design(stacks, noise)
    problem = _problem(stacks, noise, readout, overhead, budget, goal)
    if not is_whole(least) or least == 1 or not 0 <= least <= MOST:
        raise InputError(f"{least} frames of every pair: give 0, or 2 and more")
    floor = np.full(len(stacks), int(least), dtype=np.int64)
    found = [_polish(problem, begin, floor) for begin in _begins(problem, floor)]
    best = min(found, key=problem.variance)

    def prediction(frames: Counts) -> Prediction:
        taken = [s._replace(frames=int(n)) for s, n in zip(stacks, frames, strict=True) if n > 0]
        return predict(taken, noise, darks, readout=readout, overhead=overhead)

    equal = problem.equal
    return Suggestion(
        goal_name(goal),
        float(budget),
        prediction(best),
        None if equal is None else prediction(equal),
    )


@dataclass(frozen=True, slots=True)
class _Problem:
    """The pairs, what a frame of each costs and tells, and what is wanted."""

    gain: Array
    gain_time: Array
    cost: Array
    #: x_i x_i' / v_i of one frame, shape (pairs, 3, 3).
    told: Array
    c: Array
    budget: float

    def spent(self, frames: Counts) -> float:
        """Seconds."""
        return float(frames @ self.cost)

    def variance(self, frames: npt.NDArray[Any]) -> Any:
        """Variance of the goal; infinite where F, C and D cannot be told apart.

        Parameters
        ----------
        frames : ndarray, shape (..., pairs)
            Numbers of frames, whole or not.

        Returns
        -------
        ndarray, shape (...)
            c' M^-1 c by the adjugate of M, columns scaled to unit diagonal.
        """
        m = np.tensordot(frames, self.told, axes=1)
        scale = np.sqrt(np.maximum(np.diagonal(m, axis1=-2, axis2=-1), 1e-300))
        u, v, w = np.moveaxis(self.c / scale, -1, 0)
        r = m / (scale[..., :, None] * scale[..., None, :])
        b, c, e = r[..., 0, 1], r[..., 0, 2], r[..., 1, 2]
        determinant = 1 + 2 * b * c * e - b * b - c * c - e * e
        form = u * u * (1 - e * e) + v * v * (1 - c * c) + w * w * (1 - b * b)
        form = form + 2 * (u * v * (c * e - b) + u * w * (b * e - c) + v * w * (b * c - e))
        regular = determinant > PIVOT**2
        return np.where(regular, form / np.where(regular, determinant, 1.0), np.inf)

    def fittable(self, frames: Counts) -> bool:
        """At least 4 stacks of at least 2 frames, of rank 3."""
        taken = frames > 0
        if taken.sum() < MIN_STACKS or frames[taken].min() < LEAST_FRAMES:
            return False
        return design_rank(self.gain[taken], self.gain_time[taken])

    @property
    def equal(self) -> Counts | None:
        """As many frames of every pair as the budget buys; None where it buys fewer than 2."""
        frames = int(self.budget / self.cost.sum())
        each = np.full(self.cost.size, frames, dtype=np.int64)
        return each if frames >= LEAST_FRAMES and self.spent(each) <= self.budget else None


def _problem(
    stacks: Sequence[PlannedStack],
    noise: NoiseFigures,
    readout: Readout,
    overhead: float,
    budget: float,
    goal: Goal,
) -> _Problem:
    if not is_number(overhead) or not 0 <= overhead <= MOST:
        raise InputError(f"overhead {overhead} s: give a number, 0 or more")
    if not is_number(budget) or not 0 < budget <= MOST:
        raise InputError(f"budget {budget} s: give a number above 0")
    gain = np.array([stack.gain for stack in stacks])
    time = np.array([stack.exposure_time for stack in stacks])
    cost = time + overhead
    if not cost.min() > 0:
        raise InputError("a frame of 0 s without overhead costs nothing; give the overhead")
    rows, weight = information(gain, time, noise, readout)
    # Columns of one size: else a product of two of them may lose what the third says.
    unit = np.sqrt((weight[:, None] * rows**2).sum(axis=0))
    rows, c = rows / unit, goal_vector(goal) / unit
    told = weight[:, None, None] * rows[:, :, None] * rows[:, None, :]
    return _Problem(gain, gain * time, cost, told, c, float(budget))


def _begins(problem: _Problem, floor: Counts) -> list[Counts]:
    """Campaigns to improve upon, all within the budget.

    Each is a base that can be fitted, and the best real-valued shares of the rest, rounded
    down. The base is what every pair gets anyway; or the cheapest one, and the one that
    tells most for its price. Equal numbers of frames are a begin, too.
    """
    if floor.any():
        bases = [floor]
    else:
        cheapest = _base(problem, problem.spent)
        bases = [cheapest]
        telling = _base(problem, lambda n: float(problem.variance(n)) * problem.spent(n))
        if problem.spent(telling) <= problem.budget:
            bases.append(telling)
    if problem.spent(bases[0]) > problem.budget:
        raise InputError(
            f"a budget of {problem.budget:g} s is too small: "
            f"{np.count_nonzero(bases[0])} stacks that can be fitted, with "
            f"{bases[0].max()} frames each, take {problem.spent(bases[0]):g} s at the least"
        )
    begins = []
    for base in bases:
        frames = base + np.floor(_shares(problem, base) / problem.cost).astype(np.int64)
        frames[frames < LEAST_FRAMES] = 0
        begins.append(frames if problem.spent(frames) <= problem.budget else base)
    equal = problem.equal
    if equal is not None and (equal >= floor).all():
        begins.append(equal)
    return begins


def _base(problem: _Problem, worth: Callable[[Counts], float]) -> Counts:
    """The least frames of few pairs: all pairs, without those that are worth least.

    By price alone this is exact: sets that can be fitted are the spanning sets of a matroid.
    """
    frames = np.full(problem.cost.size, LEAST_FRAMES, dtype=np.int64)
    while np.count_nonzero(frames) > MIN_STACKS:
        without = []
        for i in np.flatnonzero(frames):
            fewer = frames.copy()
            fewer[i] = 0
            if problem.fittable(fewer):
                without.append(fewer)
        if not without:
            break
        frames = min(without, key=worth)
    return frames


def _shares(problem: _Problem, base: Counts) -> Array:
    """Seconds of each pair beyond a base, as real numbers: the convex optimum."""
    from scipy.optimize import minimize

    rest = problem.budget - problem.spent(base)
    pairs = problem.cost.size
    if rest <= 0:
        return np.zeros(pairs)
    fixed = np.tensordot(base, problem.told, axes=1)
    told = problem.told * (rest / problem.cost)[:, None, None]

    def objective(share: Array) -> tuple[float, Array]:
        """Logarithm of the variance, and its gradient -(x_i' M^-1 c)^2 / (c' M^-1 c)."""
        solution = np.linalg.solve(fixed + np.tensordot(share, told, axes=1), problem.c)
        variance = float(problem.c @ solution)
        gradient = -np.einsum("j,ijk,k->i", solution, told, solution)
        return math.log(variance), gradient / variance

    result = minimize(
        objective,
        np.full(pairs, 1 / pairs),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * pairs,
        constraints={
            "type": "eq",
            "fun": lambda share: share.sum() - 1.0,
            "jac": lambda share: np.ones(pairs),
        },
        options={"ftol": 1e-12, "maxiter": 500},
    )
    # Not asked whether it converged: exchanges of frames mend what is left.
    share = np.clip(np.nan_to_num(result.x), 0.0, None)
    total = share.sum()
    shares: Array = share * (rest / total) if total > 0 else np.full(pairs, rest / pairs)
    return shares


def _polish(problem: _Problem, frames: Counts, floor: Counts) -> Counts:
    """Exchange frames between two pairs, or buy some, as long as that lowers the variance."""
    variance = float(problem.variance(frames))
    for _ in range(MOST_EXCHANGES):
        moves = _moves(problem, frames, floor)
        values = problem.variance(moves)
        for k in np.argsort(values):
            if not values[k] < variance * (1 - GAIN_OF_EXCHANGE):
                return frames
            if problem.fittable(moves[k]):
                frames, variance = moves[k], float(values[k])
                break
        else:
            return frames
    return frames


def _moves(problem: _Problem, frames: Counts, floor: Counts) -> Counts:
    """All campaigns within the budget that are one exchange away, shape (moves, pairs).

    Frames of pair i - one, all, or as many as buy one frame of pair j - make way for as many
    of pair j as there is time for; or none do, and the time left over is spent on j.
    """
    cost = problem.cost
    pairs = cost.size
    left = problem.budget - problem.spent(frames)
    i, j = (index.ravel() for index in np.indices((pairs, pairs)))
    one = np.ones(i.size, dtype=np.int64)
    dear = np.ceil(np.maximum(cost[j] - left, 0) / cost[i]).astype(np.int64)
    gone = np.concatenate([one, np.maximum(dear, 1), frames[i], 0 * one])
    i, j = np.tile(i, 4), np.tile(j, 4)
    # A stack is taken with at least LEAST_FRAMES or not at all.
    stays = frames[i] - gone
    gone = np.where((stays > 0) & (stays < LEAST_FRAMES), frames[i], gone)
    bought = np.floor((left + gone * cost[i]) / cost[j]).astype(np.int64)
    possible = (i != j) & (frames[i] - gone >= floor[i]) & (bought > 0)
    possible &= frames[j] + bought >= LEAST_FRAMES
    i, j, gone, bought = i[possible], j[possible], gone[possible], bought[possible]
    moves = np.tile(frames, (i.size, 1))
    row = np.arange(i.size)
    moves[row, i] -= gone
    moves[row, j] += bought
    return moves[moves @ cost <= problem.budget]
