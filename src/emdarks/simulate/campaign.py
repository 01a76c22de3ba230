"""A campaign of dark frames on disk, with the truth beside it.

A campaign is described by a few numbers (`Campaign`, kept in ``campaign.toml``). Every
frame draws from a source of its own, keyed by seed, stack and frame: it is the same
whatever is made before or beside it, and by however many threads.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, Unit, load_camera
from emdarks.errors import InputError
from emdarks.fitsio import PrimaryHDU, image_hdu, write_whole
from emdarks.simulate.effects import Effects
from emdarks.simulate.frames import Exposure, Frame, Units
from emdarks.simulate.headers import SCIENCE_VISIT, FrameFacts, frame_headers
from emdarks.simulate.register import STAGES, stage_probability
from emdarks.simulate.truth import Truth, generator, make_truth

__all__ = [
    "DEFAULT_STACKS",
    "Campaign",
    "CampaignFiles",
    "StackPlan",
    "frame_generator",
    "load_campaign",
    "simulate_campaign",
    "write_science_frame",
]

#: Gain and exposure time (s) of six stacks that F, C and D can be fitted to: low gain
#: for F, high gain for a short time for C, high gain for a long time for D, and a
#: traditional dark at gain 1000 and 60 s in between.
DEFAULT_STACKS = (
    (1.0, 2.0),
    (1.0, 100.0),
    (50.0, 10.0),
    (1000.0, 60.0),
    (5000.0, 2.0),
    (5000.0, 100.0),
)

TRUTH_FILE = "truth.fits"
PLAN_FILE = "campaign.toml"

#: Seconds between two exposures.
_PAUSE = 10.0
_UNIT = {"DN": Unit.DN, "e": Unit.EM_ELECTRON}


class StackPlan(NamedTuple):
    """Frames of one setting.

    Attributes
    ----------
    gain : float
        EM gain.
    exposure_time : float
        Seconds.
    frames : int
        How many.
    """

    gain: float
    exposure_time: float
    frames: int


@dataclass(frozen=True)
class Campaign:
    """All that it takes to make a campaign again.

    Attributes
    ----------
    stacks : tuple of StackPlan
        In the order in which they are taken.
    camera : Camera
        The camera.
    seed : int
        The same seed gives the same detector and the same frames.
    units : {"DN", "e"}
        DN or EM electrons.
    effects : Effects
        Disturbances.
    """

    stacks: tuple[StackPlan, ...]
    camera: Camera
    seed: int
    units: Units
    effects: Effects

    def __post_init__(self) -> None:
        for stack in self.stacks:
            _check_stack(stack)
        if self.units not in _UNIT:
            raise InputError(f"units {self.units!r} are unknown; choose 'DN' or 'e'")

    def facts(self) -> Iterator[FrameFacts]:
        """What goes into the headers, frame by frame, in the order in which they are taken."""
        elapsed = 0.0
        for number, stack in enumerate(self.stacks):
            for frame in range(stack.frames):
                yield FrameFacts(
                    gain=stack.gain,
                    exposure_time=stack.exposure_time,
                    k_gain=self.camera.noise.k_gain,
                    unit=_UNIT[self.units],
                    elapsed=elapsed,
                    stack=number,
                    frame=frame,
                )
                elapsed += stack.exposure_time + _PAUSE

    @property
    def duration(self) -> float:
        """Seconds from the first exposure's start to the last one's end."""
        return sum(stack.frames * (stack.exposure_time + _PAUSE) for stack in self.stacks)

    def to_toml(self) -> str:
        """Text of ``campaign.toml``."""
        lines = [
            "# A dark campaign made by emdarks.simulate; truth.fits is the detector behind it.",
            f"camera = {json.dumps(self.camera.name)}",
            f"seed = {self.seed}",
            f"units = {json.dumps(self.units)}",
            "",
            "[effects]",
            *(f"{name} = {json.dumps(value)}" for name, value in asdict(self.effects).items()),
        ]
        for stack in self.stacks:
            table = (f"{name} = {json.dumps(value)}" for name, value in stack._asdict().items())
            lines += ["", "[[stacks]]", *table]
        return "\n".join(lines) + "\n"


class CampaignFiles(NamedTuple):
    """A campaign on disk.

    Attributes
    ----------
    paths : tuple of Path
        The frames, in the order in which they were taken.
    truth : Truth
        The detector.
    truth_path, plan_path : Path
        ``truth.fits`` and ``campaign.toml``.
    campaign : Campaign
        The description.
    """

    paths: tuple[Path, ...]
    truth: Truth
    truth_path: Path
    plan_path: Path
    campaign: Campaign


def _check_stack(stack: StackPlan) -> None:
    stage_probability(stack.gain, STAGES)
    if not 0 <= stack.exposure_time < np.inf or stack.frames < 1:
        raise InputError(
            f"a stack of {stack.frames} frames of {stack.exposure_time:g} s; give 1 frame or "
            "more, and 0 s or more"
        )


def _plans(stacks: Sequence[Sequence[float]] | None, frames: int) -> tuple[StackPlan, ...]:
    """Stacks given as (gain, time) or (gain, time, frames), completed."""
    plans = []
    for stack in DEFAULT_STACKS if stacks is None else stacks:
        if len(stack) not in (2, 3):
            raise InputError(f"stack {tuple(stack)}: give gain, exposure time and maybe frames")
        gain, exposure_time, *own = stack
        plans.append(StackPlan(float(gain), float(exposure_time), int(own[0] if own else frames)))
    if not plans:
        raise InputError("a campaign needs at least one stack")
    return tuple(plans)


def frame_generator(seed: int, stack: int, frame: int) -> np.random.Generator:
    """Source of chance of one frame of a campaign.

    ``simulate_frame(truth, gain, exposure_time, frame_generator(seed, stack, frame))``
    is, in memory, that frame of the campaign's files.

    Parameters
    ----------
    seed : int
        The campaign's.
    stack, frame : int
        Numbers from 0: of the stack in the campaign, of the frame in the stack.

    Returns
    -------
    numpy.random.Generator
    """
    return generator(seed, 1, stack, frame)


def simulate_campaign(
    directory: str | Path,
    camera: str | Camera = "excam",
    frames: int = 10,
    seed: int = 0,
    units: Units = "DN",
    stacks: Sequence[Sequence[float]] | None = None,
    *,
    effects: Effects | None = None,
    overwrite: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CampaignFiles:
    """Write a campaign of dark frames whose truth is known.

    The folder gets one FITS file a frame (``cgi_*_l2a.fits``, as level 2a of the Roman
    Coronagraph: primary, image, ERR, DQ), ``truth.fits`` and ``campaign.toml``.

    Parameters
    ----------
    directory : str or Path
        The folder, made if it is missing.
    camera : str or Camera
        The camera, its name or its file.
    frames : int
        Frames of a stack.
    seed : int
        The same seed gives the same pixels and headers, also with more frames or threads.
    units : {"DN", "e"}
        DN, or EM electrons.
    stacks : sequence of (gain, exposure time in s[, frames]), optional
        The settings; `DEFAULT_STACKS` by default.
    effects : Effects, optional
        Cosmic rays, flagged and not, and other disturbances.
    overwrite : bool
        Replace an earlier simulated campaign in the folder: its files go, others stay.
    threads : int
        How many frames are made at a time; each takes about 100 MB at full size.
    progress : callable, optional
        Called with the number of frames written and of all frames.

    Returns
    -------
    CampaignFiles

    Raises
    ------
    InputError
        An argument makes no sense; the folder is not empty and ``overwrite`` is not set,
        or is no earlier campaign; a file cannot be written.
    """
    campaign = Campaign(
        stacks=_plans(stacks, frames),
        camera=load_camera(camera),
        seed=seed,
        units=units,
        effects=effects or Effects(),
    )
    truth = make_truth(campaign.camera, seed)
    folder = _clear(Path(directory), overwrite)
    truth_path, plan_path = folder / TRUTH_FILE, folder / PLAN_FILE
    # First of all: with it, an interrupted campaign can be overwritten.
    _write_text(plan_path, campaign.to_toml())
    truth.save(truth_path)
    paths = _write_frames(folder, campaign, truth, max(1, threads), progress)
    return CampaignFiles(paths, truth, truth_path, plan_path, campaign)


def _write_frames(
    folder: Path,
    campaign: Campaign,
    truth: Truth,
    threads: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[Path, ...]:
    writer = _Writer(folder, campaign, truth)
    total = sum(stack.frames for stack in campaign.stacks)
    paths: list[Path] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            for path in pool.map(writer, campaign.facts()):
                paths.append(path)
                if progress is not None:
                    progress(len(paths), total)
        except BaseException:
            # Ctrl-C or a full disk: frames that have not begun never will.
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(paths)


class _Writer:
    """Makes and writes one frame; threads share it."""

    def __init__(self, folder: Path, campaign: Campaign, truth: Truth):
        self._folder = folder
        self._campaign = campaign
        self._truth = truth
        self._exposure: Exposure | None = None

    def __call__(self, facts: FrameFacts) -> Path:
        campaign = self._campaign
        rng = frame_generator(campaign.seed, facts.stack, facts.frame)
        frame = self._set_up(facts).frame(rng, campaign.effects, campaign.units)
        return _save(self._folder, frame, facts, campaign.camera, campaign.effects)

    def _set_up(self, facts: FrameFacts) -> Exposure:
        """The stack's exposure: made anew where the last one was another stack's.

        Threads may make it twice; whichever stays, it is the same.
        """
        exposure = self._exposure
        wanted = (facts.gain, facts.exposure_time)
        if exposure is None or (exposure.gain, exposure.exposure_time) != wanted:
            exposure = Exposure.of(self._truth, *wanted)
            self._exposure = exposure
        return exposure


def _save(folder: Path, frame: Frame, facts: FrameFacts, camera: Camera, effects: Effects) -> Path:
    primary, image, err, dq = frame_headers(facts, camera)
    scale = 1.0 if facts.unit is Unit.EM_ELECTRON else facts.k_gain
    errors = np.full((1, *frame.data.shape), effects.err / scale, dtype=np.float32)
    path = folder / facts.filename
    hdus: list[Any] = [
        PrimaryHDU(header=primary),
        image_hdu(frame.data, image),
        image_hdu(errors, err, "ERR"),
        image_hdu(frame.dq, dq, "DQ"),
    ]
    write_whole(hdus, path)
    return path


def write_science_frame(
    directory: str | Path,
    truth: Truth,
    gain: float,
    exposure_time: float,
    scene: npt.ArrayLike,
    *,
    number: int = 0,
    units: Units = "DN",
    effects: Effects | None = None,
) -> Path:
    """Write one frame with light on it, as a file like those of the campaign.

    Parameters
    ----------
    directory : str or Path
        A folder that exists.
    truth : Truth
        The detector; its seed and ``number`` seed the frame.
    gain, exposure_time, scene
        As in `science_frame`.
    number : int
        Number of the frame, from 0: goes into seed, name and time.
    units : {"DN", "e"}
        DN or EM electrons.
    effects : Effects, optional
        Disturbances.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        As `science_frame`; or the file cannot be written.
    """
    chosen = effects or Effects()
    exposure = Exposure.of(truth, gain, exposure_time, scene)
    frame = exposure.frame(generator(truth.seed, 2, number), chosen, units)
    facts = FrameFacts(
        gain=float(gain),
        exposure_time=float(exposure_time),
        k_gain=truth.k_gain,
        unit=_UNIT[units],
        # A month after the campaign's start, one after the other.
        elapsed=30 * 86400.0 + number * (exposure_time + _PAUSE),
        stack=0,
        frame=number,
        program=1,
        visit_type=SCIENCE_VISIT,
    )
    return _save(Path(directory), frame, facts, truth.camera, chosen)


def load_campaign(directory: str | Path, camera: str | Camera | None = None) -> Campaign:
    """Read the description of a simulated campaign.

    Parameters
    ----------
    directory : str or Path
        The campaign's folder.
    camera : str or Camera, optional
        The camera; by default the one that the description names.

    Returns
    -------
    Campaign

    Raises
    ------
    InputError
        There is no description, or it is damaged, or its camera is unknown.
    """
    tables = _read_toml(Path(directory) / PLAN_FILE)
    return Campaign(
        stacks=tables["stacks"],
        camera=load_camera(camera or tables["camera"]),
        seed=tables["seed"],
        units=tables["units"],
        effects=tables["effects"],
    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
        return {
            "stacks": tuple(StackPlan(**stack) for stack in tables["stacks"]),
            "camera": str(tables["camera"]),
            "seed": int(tables["seed"]),
            "units": tables["units"],
            "effects": Effects(**tables["effects"]),
        }
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is not a simulated campaign's description ({error})") from None


def _clear(folder: Path, overwrite: bool) -> Path:
    """Make the folder; empty it of an earlier campaign where that is wanted."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: cannot be made a folder ({error.strerror})") from None
    if not occupied:
        return folder
    if not overwrite:
        raise InputError(f"{folder}: is not empty; choose another folder, or overwrite it")
    if not (folder / PLAN_FILE).exists():
        # It may hold real frames: nothing that we did not write is ever deleted.
        raise InputError(f"{folder}: is no earlier simulated campaign; choose an empty folder")
    _remove_earlier(folder)
    return folder


def _remove_earlier(folder: Path) -> None:
    """Delete exactly the frames that the earlier campaign wrote."""
    earlier = load_campaign(folder, camera="excam")  # names of files don't depend on it
    try:
        for facts in earlier.facts():
            (folder / facts.filename).unlink(missing_ok=True)
        (folder / TRUTH_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be emptied ({error.strerror})") from None


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
