"""The command that plans a campaign."""

from __future__ import annotations

import math
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import group, option
from emdarks.cli.options import AS_JSON, MODE

if TYPE_CHECKING:
    from emdarks.cameras import Camera, NoiseFigures

#: What is planned where nothing is said: the recommended least number of frames.
_FRAMES = 1176


@group
class Stacks:
    """The stacks of the campaign, and the time for it."""

    gains: str = option("1,50,1000,5000", "EM gains, each to be combined with each time.")
    times: str = option("2,100", "Exposure times, s.")
    stack: list[str] | None = option(
        None,
        "EM gain, time and frames of one stack, instead of --gains and --times; may be repeated.",
        metavar="G,T[,N]",
    )
    frames: int | None = option(None, f"Frames of each stack; default {_FRAMES}.", min=1)
    budget: float | None = option(
        None, "Seconds to be shared over the stacks, instead of --frames."
    )
    overhead: float = option(0.0, "Seconds per frame on top of the exposure.")

    def settings(self) -> list[tuple[float, ...]]:
        """EM gain and time of each stack, and its frames where they are given.

        Raises
        ------
        typer.BadParameter
            An option is no list of numbers, or does not go with another.
        """
        if self.budget is not None and self.frames is not None:
            raise typer.BadParameter("give either --frames or --budget")
        stacks = [_numbers(text, "--stack", (2, 3)) for text in self.stack or []]
        if self.budget is not None and any(len(one) == 3 for one in stacks):
            raise typer.BadParameter("--budget finds the numbers of frames; give --stack G,T")
        times = () if stacks else _numbers(self.times, "--times")
        gains = () if stacks else _numbers(self.gains, "--gains")
        return stacks or [(gain, time) for gain in gains for time in times]


class PlannedEstimator(StrEnum):
    """Estimators whose errors are predicted."""

    pooled = "pooled"
    counting = "counting"


@group
class Goal:
    """The errors that matter."""

    estimator: PlannedEstimator = option(
        PlannedEstimator.pooled, "Whose errors are predicted, and made small."
    )
    goal: str = option("D", "Whose error a shared budget makes small: F, C, D, dark:G,T.")
    at_least: int = option(0, "Frames that a shared budget gives every stack.")
    dark: list[str] | None = option(
        None,
        "Synthesised dark whose error is wanted; may be repeated. Default 1000,60.",
        metavar="G,T",
    )

    rays: float | None = option(
        None,
        "Cosmic rays per cm2 and s: what they take of the samples (counting).",
        metavar="RATE",
        min=0.0,
    )

    def darks(self) -> list[Any]:
        """EM gain and time of each dark whose error is wanted.

        Raises
        ------
        typer.BadParameter
            An option is wrong.
        """
        if self.rays is not None and self.estimator is not PlannedEstimator.counting:
            raise typer.BadParameter(
                "--rays is for --estimator counting: faint rays are signal to the pooled one, "
                "which no error tells; --lost says what flagged ones take"
            )
        wanted = [_numbers(text, "--dark", (2,)) for text in self.dark or ["1000,60"]]
        if self.goal not in ("F", "C", "D"):
            if not self.goal.startswith("dark:"):
                raise typer.BadParameter(f"--goal {self.goal}: choose F, C, D, or dark:G,T")
            _numbers(self.goal.removeprefix("dark:"), "--goal", (2,))
        return wanted


@group
class Detector:
    """The camera, and numbers of its noise that are known better."""

    camera: str = option("excam", "Built-in camera or camera file: its noise.")
    mode: str | None = MODE
    read_noise: float | None = option(None, "EM electrons, instead of the camera's.")
    cic: float | None = option(None, "Clock-induced charge, e-/pixel/frame.")
    dark_current: float | None = option(None, "Dark current, e-/pixel/s.")

    @property
    def figures(self) -> dict[str, float | None]:
        """Numbers of the noise by the names that a camera has for them."""
        return {
            "read_noise": self.read_noise,
            "clock_induced_charge": self.cic,
            "dark_current": self.dark_current,
        }


@group
class Register:
    """The gain register, and samples that are lost."""

    kappa: float = option(2.0, "Excess noise of the gain register.")
    stages: int | None = option(None, "Stages of the gain register, instead of --kappa.", min=1)
    lost: str = option(
        "0,0",
        "Share of samples lost to cosmic rays: of each frame, and per second.",
        metavar="SHARE,SHARE",
    )


def plan(
    *, stacks: Stacks, goal: Goal, detector: Detector, register: Register, as_json: bool = AS_JSON
) -> None:
    """Predict the errors of a campaign, or suggest how to share time over its stacks.

    Example: emdarks plan --frames 100

    Example: emdarks plan --budget 36000 --overhead 5 --goal dark:1000,60
    """
    settings, darks = stacks.settings(), goal.darks()
    lost = _numbers(register.lost, "--lost", (2,))
    from emdarks.planning import Readout, predict, share_budget

    camera, noise = _noise(detector, as_json)
    clean = Readout(register.kappa, register.stages, *lost)
    readout = clean.under_rays(goal.rays or 0.0, camera.simulation.pixel_size)
    how: Any = {"overhead": stacks.overhead, "estimator": goal.estimator.value}
    if stacks.budget is None:
        frames = stacks.frames or _FRAMES
        planned = [(*one, frames) if len(one) == 2 else one for one in settings]
        prediction = predict(planned, noise, darks, readout=readout, **how)
        values = prediction.as_dict()
    else:
        pairs: Any = settings
        asked: Any = {"goal": goal.goal, "darks": darks, "least": goal.at_least}
        suggestion = share_budget(pairs, stacks.budget, noise, readout=readout, **asked, **how)
        prediction, values = suggestion.prediction, suggestion.as_dict()
    if goal.rays is not None:
        none = predict(prediction.stacks, noise, darks, readout=clean, **how)
        values |= {"rays_per_cm2_s": goal.rays, "without_rays": none.as_dict()}
    _tell(values, as_json)


def _noise(detector: Detector, silent: bool) -> tuple[Camera, NoiseFigures]:
    """The camera, and its noise in its mode, with the numbers that are given instead."""
    from emdarks.cameras import load_camera
    from emdarks.errors import InputError

    camera, mode = load_camera(detector.camera), detector.mode
    given = {name: value for name, value in detector.figures.items() if value is not None}
    _refuse_nan(given)
    noise = replace((camera if mode is None else camera.in_mode(mode)).noise, **given)
    lacking = [name for name in detector.figures if name in noise.unknown]
    if lacking:
        modes = "; ".join(each.name for each in camera.modes)
        raise InputError(
            f"camera {camera.name} gives {lacking[0]} by mode; choose one (--mode): {modes}"
        )
    _say_mode(mode, camera, silent or len(given) == len(detector.figures))
    return camera, noise


def _tell(values: dict[str, Any], as_json: bool) -> None:
    """Say what is predicted, or suggested beside equal numbers of frames."""
    if as_json:
        console.json_out(values)
        return
    shown = values.get("suggested", values)
    columns = {"predicted": shown}
    if "without_rays" in values:
        columns["without rays"] = values["without_rays"]
    if equal := values.get("equal"):
        columns[f"with {equal['stacks'][0]['frames']} frames each"] = equal
    _show(shown, columns)
    if "suggested" in values:
        _show_goal(values)


def _say_mode(mode: str | None, camera: Camera, silent: bool) -> None:
    """Say whose noise is planned with, where the camera has modes and none was chosen."""
    if mode is None and camera.simulation.mode and not silent:
        console.say(f"noise of mode {camera.simulation.mode!r}; --mode chooses another")


def _refuse_nan(given: dict[str, float]) -> None:
    from emdarks.errors import InputError

    for name, value in given.items():
        if math.isnan(value):  # which stands for "not known" in a camera
            raise InputError(f"{name.replace('_', ' ')} nan: give a number, 0 or more")


def _numbers(text: str, option: str, lengths: tuple[int, ...] = ()) -> tuple[float, ...]:
    """Numbers separated by commas.

    Raises
    ------
    typer.BadParameter
        They are none, or too few or too many.
    """
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{option} {text}: give numbers separated by commas") from None
    if lengths and len(numbers) not in lengths:
        many = " or ".join(str(length) for length in lengths)
        raise typer.BadParameter(f"{option} {text}: give {many} numbers separated by commas")
    return numbers


def _show(values: dict[str, Any], predictions: dict[str, dict[str, Any]]) -> None:
    """The stacks, and the errors of predictions beside each other."""
    from rich import box
    from rich.table import Table

    stacks = Table(box=box.SIMPLE_HEAD)
    for title in ("EM gain", "time, s", "frames", "hours", "share of time"):
        stacks.add_column(title, justify="right")
    for one in values["stacks"]:
        stacks.add_row(
            f"{one['em_gain']:g}",
            f"{one['exposure_time_s']:g}",
            f"{one['frames']}",
            f"{one['duration_s'] / 3600:.2f}",
            f"{one['duration_s'] / values['duration_s']:.1%}" if values["duration_s"] else "-",
        )
    stacks.add_section()
    stacks.add_row("all", "", f"{values['frames']}", f"{values['duration_s'] / 3600:.2f}", "")
    errors = Table(box=box.SIMPLE_HEAD)
    errors.add_column("1-sigma error per pixel")
    for title in predictions:
        errors.add_column(title, justify="right")
    columns = [_errors(each) for each in predictions.values()]
    for name in columns[0]:
        errors.add_row(name, *(f"{column[name]:.4g}" for column in columns))
    console.show(stacks)
    console.show(errors)
    pairs = (("F-C", "fpn_cic"), ("F-D", "fpn_dc"), ("C-D", "cic_dc"))
    console.say(
        "correlations "
        + ", ".join(f"{name} {values[f'correlation_{key}']:+.2f}" for name, key in pairs)
    )
    if values["unfittable_share"] > 1e-6:
        console.say(
            f"warning: cosmic rays leave {values['unfittable_share']:.2%} of the pixels with "
            "fewer than 4 usable stacks: without a value; take more stacks, or more frames in "
            "the smallest"
        )


def _errors(values: dict[str, Any]) -> dict[str, float]:
    errors: dict[str, float] = {
        "F, EM e-": values["error_fpn_e"],
        "C, e-/frame": values["error_cic_e_per_frame"],
        "D, e-/s": values["error_dc_e_per_s"],
    }
    for dark in values["darks"]:
        errors[f"dark at gain {dark['em_gain']:g}, {dark['exposure_time_s']:g} s, e-"] = dark[
            "error_e"
        ]
    return errors


def _show_goal(values: dict[str, Any]) -> None:
    """The goal, and what equal numbers of frames would give."""
    text = f"goal {values['goal']}: error {values['goal_error']:.4g}"
    if values["equal_goal_error"] is not None:
        text += f", with equal numbers of frames {values['equal_goal_error']:.4g}"
    console.say(text)
    if min(stack["frames"] for stack in values["suggested"]["stacks"]) < 10:
        console.say(
            "best for this goal alone; small stacks check the model poorly: --at-least N keeps "
            "the campaign broad"
        )
