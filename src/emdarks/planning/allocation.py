"""How to share a budget of time over pairs of EM gain and exposure time.

To minimise the variance c' (sum n_i a_i x_i x_i')^-1 c of one linear function of F, C and D
over the numbers of frames n_i is a c-optimal design (Pukelsheim, *Optimal Design of
Experiments*, 1993, chapter 2); it is convex in the n_i. The shares are optimised as real
numbers, beyond the few frames that make the campaign fittable, and rounded down; exchanges
of frames between two pairs (Fedorov 1972) then spend what rounding left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks._core import PIVOT, design_rank
from emdarks.arguments import is_number, is_whole
from emdarks.cameras import NoiseFigures
from emdarks.errors import InputError
from emdarks.planning.counting import has_low_gain
from emdarks.planning.design import (
    MOST,
    PlannedStack,
    Readout,
    as_stacks,
    check_design,
    check_noise,
)
from emdarks.planning.prediction import (
    Goal,
    Prediction,
    goal_name,
    goal_vector,
    information_of,
    predict,
)
from emdarks.stacks.design import MIN_STACKS

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

#: Frames of a stack that is taken at all: the scatter of fewer tells no error.
LEAST_FRAMES = 2
#: An exchange of frames must lower the variance by this much, relative.
LEAST_GAIN = 1e-7
#: Largest numbers of exchanges, and of steps towards the real-valued optimum.
MOST_EXCHANGES, STEPS = 2000, 500


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
    estimator: str = "pooled",
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
    estimator : {"pooled", "counting"}
        Whose errors, as in `predict`. "counting": a gain below 2 read noises is taken at two
        times where the pairs have one, since its slope with time tells what cosmic rays leave
        below the threshold.

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
    >>> from emdarks.planning import share_budget
    >>> pairs = [(gain, time) for gain in (1, 5000) for time in (2, 100)]
    >>> suggestion = share_budget(pairs, 20400.0, load_camera("excam").noise, goal="D")
    >>> suggestion.error < suggestion.equal_error
    True
    """
    readout = readout or Readout()
    stacks = as_stacks([(*pair, 1) for pair in pairs])
    check_noise(noise)
    check_design(stacks, noise)
    told = information_of(stacks, noise, readout, estimator)
    low = has_low_gain(np.array([s.gain for s in stacks]), noise) & (estimator == "counting")
    problem = _problem(stacks, told, low, overhead, budget, goal)
    if not is_whole(least) or least == 1 or not 0 <= least <= MOST:
        raise InputError(f"{least} frames of every pair: give 0, or 2 and more")
    floor = np.full(len(stacks), int(least), dtype=np.int64)
    found = [_exchanged(problem, begin, floor) for begin in _begins(problem, floor)]
    best = min(found, key=problem.variance)

    def prediction(frames: Counts) -> Prediction:
        taken = [s._replace(frames=int(n)) for s, n in zip(stacks, frames, strict=True) if n > 0]
        how: Any = {"readout": readout, "overhead": overhead, "estimator": estimator}
        return predict(taken, noise, darks, **how)

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
    time: Array
    cost: Array
    #: Information of one frame, shape (pairs, 3, 3): x_i x_i' / v_i of least squares.
    told: Array
    c: Array
    budget: float
    #: Gains that are to be taken at two times.
    low: npt.NDArray[np.bool_]

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
            c' M^-1 c, with columns scaled to unit diagonal.
        """
        m = np.tensordot(frames, self.told, axes=1)
        scale = np.sqrt(np.maximum(np.diagonal(m, axis1=-2, axis2=-1), 1e-300))
        correlation, c = m / (scale[..., :, None] * scale[..., None, :]), self.c / scale
        regular = np.linalg.det(correlation) > PIVOT**2
        correlation = np.where(regular[..., None, None], correlation, np.eye(3))
        solution = np.linalg.solve(correlation, c[..., None])[..., 0]
        return np.where(regular, (c * solution).sum(axis=-1), np.inf)

    def fittable(self, frames: Counts) -> bool:
        """At least 4 stacks of at least 2 frames, of rank 3, with a slope of a low gain."""
        taken = frames > 0
        if taken.sum() < MIN_STACKS or frames[taken].min() < LEAST_FRAMES:
            return False
        if self.has_slope(np.ones_like(taken)) and not self.has_slope(taken):
            return False
        return design_rank(self.gain[taken], (self.gain * self.time)[taken])

    def has_slope(self, taken: npt.NDArray[np.bool_]) -> bool:
        """Whether a low gain is taken at two times."""
        return bool(
            max(np.unique(self.gain[taken & self.low], return_counts=True)[1], default=0) > 1
        )

    @property
    def equal(self) -> Counts | None:
        """As many frames of every pair as the budget buys; None where it buys fewer than 2."""
        frames = int(self.budget / self.cost.sum())
        each = np.full(self.cost.size, frames, dtype=np.int64)
        return each if frames >= LEAST_FRAMES and self.spent(each) <= self.budget else None


def _problem(
    stacks: Sequence[PlannedStack],
    told: Array,
    low: npt.NDArray[np.bool_],
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
    # Columns of one size: else a product of two of them may lose what the third says.
    unit = np.sqrt(np.diagonal(told.sum(axis=0)))
    c = goal_vector(goal) / unit
    return _Problem(gain, time, cost, told / np.outer(unit, unit), c, float(budget), low)


def _begins(problem: _Problem, floor: Counts) -> list[Counts]:
    """Campaigns to improve upon: rounded optima, each beyond a base that can be fitted.

    The base is what every pair gets anyway; or the cheapest one, and the one that tells
    most for its price. Equal numbers of frames are a begin, too.
    """
    if floor.any():
        bases = [floor]
    else:
        cheapest = _base(problem, problem.spent)
        bases = [cheapest, _base(problem, lambda n: problem.variance(n) * problem.spent(n))]
    if problem.spent(bases[0]) > problem.budget:
        raise InputError(
            f"a budget of {problem.budget:g} s is too small: "
            f"{np.count_nonzero(bases[0])} stacks that can be fitted, with "
            f"{bases[0].max()} frames each, take {problem.spent(bases[0]):g} s at the least"
        )
    begins = [_rounded(problem, base) for base in bases if problem.spent(base) <= problem.budget]
    equal = problem.equal
    return begins if equal is None or (equal < floor).any() else [*begins, equal]


def _base(problem: _Problem, worth: Callable[[Counts], float]) -> Counts:
    """The least frames of few pairs: all pairs, without those that are worth least.

    By price alone this is exact: sets that can be fitted are the spanning sets of a matroid.
    """
    frames = np.full(problem.cost.size, LEAST_FRAMES, dtype=np.int64)
    for _ in range(frames.size - MIN_STACKS):
        without = [np.where(np.arange(frames.size) == i, 0, frames) for i in np.flatnonzero(frames)]
        frames = min(filter(problem.fittable, without), key=worth, default=frames)
    return frames


def _rounded(problem: _Problem, base: Counts) -> Counts:
    """A base, and the real-valued optimum of the time beyond it in whole frames.

    Multiplicative algorithm (Silvey, Titterington and Torsney 1978): each step multiplies a
    pair's time by the root of how fast the variance falls with that time.
    """
    rest = problem.budget - problem.spent(base)
    fixed = np.tensordot(base, problem.told, axes=1)
    frames = rest / problem.cost / problem.cost.size
    for _ in range(STEPS if rest > 0 else 0):
        solution = np.linalg.solve(fixed + np.tensordot(frames, problem.told, axes=1), problem.c)
        slope = np.einsum("j,ijk,k->i", solution, problem.told, solution) / problem.cost
        frames = frames * np.sqrt(np.abs(slope))  # rounding may put a slope of 0 below it
        frames *= rest / (frames @ problem.cost)
    whole: Counts = base + frames.astype(np.int64)
    whole[whole < LEAST_FRAMES] = 0
    return whole if problem.spent(whole) <= problem.budget else base


def _exchanged(problem: _Problem, frames: Counts, floor: Counts) -> Counts:
    """Exchange frames between two pairs, or buy some, as long as that lowers the variance."""
    for _ in range(MOST_EXCHANGES):
        moves = _exchanges(problem, frames, floor)
        variance = problem.variance(moves)
        enough = problem.variance(frames) * (1 - LEAST_GAIN)
        better = (moves[k] for k in np.argsort(variance) if variance[k] < enough)
        found = next(filter(problem.fittable, better), None)
        if found is None:
            break
        frames = found
    return frames


def _exchanges(problem: _Problem, frames: Counts, floor: Counts) -> Counts:
    """All campaigns within the budget that are one exchange away, shape (exchanges, pairs).

    No frame of pair i, one, half of them, all, or as many as buy one of pair j make way for
    as many of pair j as there is time for.
    """
    cost, pairs = problem.cost, problem.cost.size
    left = problem.budget - problem.spent(frames)
    i, j, kind = np.indices((pairs, pairs, 5)).reshape(3, -1)
    price = np.ceil(np.maximum(cost[j] - left, 0) / cost[i]).astype(np.int64)
    gone = np.choose(kind, [0, 1, frames[i] // 2, frames[i], price])
    bought = ((left + gone * cost[i]) / cost[j]).astype(np.int64)
    one = np.eye(pairs, dtype=np.int64)
    moves = frames + bought[:, None] * one[j] - gone[:, None] * one[i]
    allowed = (moves >= floor) & ((moves == 0) | (moves >= LEAST_FRAMES))
    allowed = allowed.all(axis=1) & (moves @ cost <= problem.budget)
    chosen: Counts = moves[(i != j) & (bought > 0) & allowed]
    return chosen
