"""A campaign of dark frames on disk, with the truth beside it.

A campaign is described by a few numbers (`Campaign`, kept in ``campaign.toml``). Every
frame draws from a source of its own, keyed by seed, stack and frame: it is the same
whatever is made before or beside it, and by however many threads.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.arguments import whole_number
from emdarks.cameras import Camera, Unit, load_camera
from emdarks.errors import InputError
from emdarks.fits import table_hdu, whole_file
from emdarks.simulate.calibrations import CALIBRATION_FILES, write_calibrations
from emdarks.simulate.effects import Effects
from emdarks.simulate.files import FileNames, FilePlan, file_names, save_l1, save_l2a, save_plain
from emdarks.simulate.frames import Exposure, Units, rays_in_frame
from emdarks.simulate.headers import (
    BEGIN,
    PAUSE,
    SCIENCE_VISIT,
    FrameFacts,
    StackPlan,
    stack_facts,
)
from emdarks.simulate.level_1 import bias_columns, invented_linearity
from emdarks.simulate.register import STAGES, stage_probability
from emdarks.simulate.truth import (
    Drift,
    Level,
    Truth,
    as_read_at,
    check_simulable,
    generator,
    load_truth,
    make_truth,
)

# Any number that is given must be below.
_MOST, _MOST_SEED = 1 << 31, (1 << 63) - 1

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

_UNIT = {"DN": Unit.DN, "e": Unit.EM_ELECTRON}


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
    level : {"1", "2a"}
        Raw frames, or frames of level 2a. Cameras whose frames have no ERR and DQ have raw
        frames of their own, at either.
    start : datetime
        When the first exposure begins, UTC.
    """

    stacks: tuple[StackPlan, ...]
    camera: Camera
    seed: int
    units: Units
    effects: Effects
    level: Level = "2a"
    start: datetime = BEGIN

    def __post_init__(self) -> None:
        if self.level not in ("1", "2a"):
            raise InputError(f"level {self.level!r} is unknown; choose '1' or '2a'")
        if self.as_l1:
            bias_columns(self.camera)
            if self.units != "DN":
                raise InputError("raw frames (level 1) are in DN")
        for stack in self.stacks:
            _check_stack(stack)
        if self.units not in _UNIT:
            raise InputError(f"units {self.units!r} are unknown; choose 'DN' or 'e'")
        if self.units != "DN" and not self.camera.frames.err_and_dq:
            raise InputError(f"frames of camera {self.camera.name} are in DN")
        if _is_conventional(self.camera) and any(stack.gain != 1 for stack in self.stacks):
            raise InputError("frames of conventional readout have EM gain 1: give such stacks")

    @property
    def names(self) -> FileNames:
        """How the frames are put into files."""
        return file_names(self.camera, self.level)

    @property
    def as_l1(self) -> bool:
        """Whether the files are those of level 1 of the Coronagraph."""
        return self.level == "1" and self.camera.frames.err_and_dq

    def facts(self) -> Iterator[FrameFacts]:
        """What goes into the headers, frame by frame, in the order in which they are taken."""
        unit = _UNIT[self.units]
        k_gain = self.camera.noise.k_gain
        for facts in stack_facts(self.stacks, k_gain, unit, self.level, self.start):
            yield replace(facts, warmer=self.effects.warmer(self.elapsed(facts)))

    def elapsed(self, facts: FrameFacts) -> float:
        """Seconds from the start of the campaign to that of a frame."""
        return facts.elapsed - (self.start - BEGIN).total_seconds()

    def chance(self, facts: FrameFacts) -> np.random.Generator:
        """Source of chance of a frame."""
        return frame_generator(self.seed, facts.stack, facts.frame, self.start)

    @property
    def duration(self) -> float:
        """Seconds from the first exposure's start to the last one's end."""
        return sum(stack.frames * (stack.exposure_time + PAUSE) for stack in self.stacks)

    def _of_other_files(self) -> Iterator[tuple[str, Any]]:
        """What there is to say where frames are not of level 2a."""
        if self.level != "2a":
            yield "level", self.level
        if self.camera.simulation.mode:
            yield "mode", self.camera.simulation.mode
        if self.names.files != "l2a":
            yield from self.names._asdict().items()
        if self.start != BEGIN:
            yield "start", self.start.isoformat()

    def to_toml(self) -> str:
        """Text of ``campaign.toml``."""
        lines = [
            "# A dark campaign made by emdarks.simulate; truth.fits is the detector behind it.",
            f"camera = {json.dumps(self.camera.name)}",
            f"seed = {self.seed}",
            f"units = {json.dumps(self.units)}",
            *(f"{name} = {json.dumps(value)}" for name, value in self._of_other_files()),
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


def _is_conventional(camera: Camera) -> bool:
    """Whether the mode that is simulated is one of conventional readout."""
    mode = camera.mode(camera.simulation.mode)
    return mode is not None and mode.when.get("conventional") is True


def default_stacks(camera: Camera) -> tuple[tuple[float, float], ...]:
    """Gain and exposure time (s) of six stacks within the range of a camera's gains.

    `DEFAULT_STACKS`, their gains moved in the logarithm to those of the camera. Of conventional
    readout, which has no EM gain, stacks of their times.

    Parameters
    ----------
    camera : Camera
        Its ``simulation.gains`` are the lowest and the highest gain.

    Returns
    -------
    tuple of (float, float)
    """
    if _is_conventional(camera):
        return tuple((1.0, time) for time in dict.fromkeys(time for _, time in DEFAULT_STACKS))
    low, high = camera.simulation.gains
    gains = [gain for gain, _ in DEFAULT_STACKS]
    if (low, high) == (min(gains), max(gains)):
        return DEFAULT_STACKS
    power = math.log(high / low) / math.log(max(gains) / min(gains))
    return tuple(
        (low + round(low * (gain / min(gains)) ** power - low), time)
        for gain, time in DEFAULT_STACKS
    )


def _plans(
    stacks: Sequence[Sequence[float]] | None, frames: int, camera: Camera
) -> tuple[StackPlan, ...]:
    """Stacks given as (gain, time) or (gain, time, frames), completed."""
    plans = []
    for stack in default_stacks(camera) if stacks is None else stacks:
        if len(stack) not in (2, 3):
            raise InputError(f"stack {tuple(stack)}: give gain, exposure time and maybe frames")
        gain, exposure_time, *own = stack
        plans.append(StackPlan(float(gain), float(exposure_time), int(own[0] if own else frames)))
    if not plans:
        raise InputError("a campaign needs at least one stack")
    return tuple(plans)


def frame_generator(
    seed: int, stack: int, frame: int, start: datetime = BEGIN
) -> np.random.Generator:
    """Source of chance of one frame of a campaign.

    ``simulate_frame(truth, gain, exposure_time, frame_generator(seed, stack, frame))``
    is, in memory, that frame of the campaign's files.

    Parameters
    ----------
    seed : int
        The campaign's.
    stack, frame : int
        Numbers from 0: of the stack in the campaign, of the frame in the stack.
    start : datetime
        Of the campaign: nights of one detector differ in their noise, whatever their seed.

    Returns
    -------
    numpy.random.Generator
    """
    if start == BEGIN:
        return generator(seed, 1, stack, frame)
    return generator(seed, 3, (start - datetime.min) // timedelta(milliseconds=1), stack, frame)


def simulate_campaign(
    directory: str | Path,
    camera: str | Camera = "excam",
    frames: int = 10,
    seed: int = 0,
    units: Units = "DN",
    stacks: Sequence[Sequence[float]] | None = None,
    *,
    effects: Effects | None = None,
    mode: str | None = None,
    level: Level = "2a",
    detector: Truth | str | Path | None = None,
    date: str | None = None,
    drift: Drift | None = None,
    overwrite: bool = False,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> CampaignFiles:
    """Write a campaign of dark frames whose truth is known.

    The folder gets one FITS file a frame (``cgi_*_l2a.fits``, as level 2a of the Roman
    Coronagraph: primary, image, ERR, DQ), ``truth.fits`` and ``campaign.toml``. Cameras
    whose files have no ERR and DQ get files as they have them: numbers of the converter,
    bias level included, in the primary HDU, one frame a file or in cubes (``dark_*.fits``).

    At level 1 the frames are raw (``cgi_*_l1_.fits``: primary, image of 16-bit integers), and
    ``nonlinearity.fits``, ``kgain.fits`` and ``params.fits``, with which they were made, stand
    beside them with an ``emdarks.toml`` that names them, so that commands find them. Where there
    are cosmic rays, ``truth.fits`` lists them in its HDU RAYS.

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
        The settings; by default `default_stacks` of the camera.
    effects : Effects, optional
        Cosmic rays, flagged and not, and other disturbances; at level 1 by default
        `Effects.of_level_1`. Frames without DQ plane get no flagged cosmic rays.
    mode : str, optional
        Name of the camera's mode; by default the one that its file simulates.
    level : {"1", "2a"}
        Raw frames, or frames of level 2a. Cameras whose files have no ERR and DQ have raw
        frames of their own, at either.
    detector : Truth, str or Path, optional
        The detector, or the ``truth.fits`` of an earlier campaign: the same detector again. By
        default one that the seed makes up.
    date : str, optional
        When the first exposure begins (ISO 8601, UTC); by default 2026-01-01. The frames of each
        date have noise of their own.
    drift : Drift, optional
        How the detector has changed. The ``truth.fits`` of this campaign is what it is now.
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
    frames = whole_number("frames", frames, 1, _MOST)
    threads = whole_number("threads", threads, 0, _MOST)
    seed = whole_number("seed", seed, 0, _MOST_SEED)
    chosen = load_camera(camera)
    chosen = chosen if mode is None else chosen.in_mode(mode)
    check_simulable(chosen)
    campaign = Campaign(
        stacks=_plans(stacks, frames, chosen),
        camera=chosen,
        seed=seed,
        units=units,
        effects=_effects(effects, chosen, level),
        level=level,
        start=_moment(date),
    )
    truth = _detector(campaign, detector).drifted(drift or Drift())
    folder = _clear(Path(directory), overwrite)
    truth_path, plan_path = folder / TRUTH_FILE, folder / PLAN_FILE
    # First of all: with it, an interrupted campaign can be overwritten.
    _write_text(plan_path, campaign.to_toml())
    truth.save(truth_path, _ray_tables(campaign, truth))
    if campaign.as_l1:
        write_calibrations(folder, truth, invented_linearity())
    paths = _write_frames(folder, campaign, truth, max(1, threads), progress)
    return CampaignFiles(paths, truth, truth_path, plan_path, campaign)


def _moment(date: str | None) -> datetime:
    """Start of a campaign."""
    if date is None:
        return BEGIN
    try:
        found = datetime.fromisoformat(date)
    except (TypeError, ValueError):
        raise InputError(f"date {date!r} is none; give one such as 2026-03-01") from None
    if not 1900 <= found.year < 2200:
        raise InputError(f"date {date!r}: give one from 1900 to 2199")
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found


def _detector(campaign: Campaign, detector: Truth | str | Path | None) -> Truth:
    """The detector of a campaign: as it is given, or made up."""
    camera = campaign.camera
    if detector is None:
        return make_truth(camera, campaign.seed, level=campaign.level)
    given = detector if isinstance(detector, Truth) else load_truth(detector, camera)
    if (given.camera.name, given.k_gain) != (camera.name, camera.noise.k_gain):
        raise InputError(
            f"the detector is one of camera {given.camera.name} with {given.k_gain:g} e-/DN, not "
            f"of {camera.name} with {camera.noise.k_gain:g}; give its camera and mode"
        )
    return as_read_at(replace(given, camera=camera), campaign.level)


def _effects(effects: Effects | None, camera: Camera, level: Level) -> Effects:
    """Disturbances asked for, or the usual ones; without a DQ plane nothing can be flagged."""
    if level == "2a" and camera.frames.err_and_dq:
        return effects or Effects()
    if effects is None:
        return Effects.of_level_1(camera) if level == "1" else Effects.none()
    return replace(effects, flagged=0.0, flagged_per_second=0.0)


def _ray_tables(campaign: Campaign, truth: Truth) -> list[Any]:
    """Table of all cosmic rays of a campaign; none where there are none.

    FRAME is the number of the frame, from 0, in the order of the files.
    """
    if not campaign.effects.rays:
        return []
    parts = []
    for number, facts in enumerate(campaign.facts()):
        rng = campaign.chance(facts)
        rays = rays_in_frame(truth.camera, facts.exposure_time, rng, campaign.effects)
        frame = np.full(rays.row.size, number, dtype=np.int32)
        parts.append((frame, rays.row, rays.column, rays.total(truth.camera)))
    frames, rows, columns, charges = (np.concatenate(part) for part in zip(*parts, strict=True))
    table = {
        "FRAME": (frames, ""),
        "ROW": (rows.astype(np.int16), "pixel"),
        "COLUMN": (columns.astype(np.int16), "pixel"),
        "CHARGE": (charges.astype(np.int32), "electron"),
    }
    return [table_hdu("RAYS", table)]


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
            done = 0
            for path, frames in pool.map(writer, campaign.names.plans(campaign.facts())):
                paths.append(path)
                done += frames
                if progress is not None:
                    progress(done, total)
        except BaseException:
            # Ctrl-C or a full disk: frames that have not begun never will.
            pool.shutdown(cancel_futures=True)
            raise
    return tuple(paths)


class _Writer:
    """Makes and writes one file; threads share it."""

    def __init__(self, folder: Path, campaign: Campaign, truth: Truth):
        self._folder = folder
        self._campaign = campaign
        self._truth = truth
        self._linearity = invented_linearity()
        self._exposure: Exposure | None = None

    def __call__(self, plan: FilePlan) -> tuple[Path, int]:
        campaign, first = self._campaign, plan.facts[0]
        path = self._folder / plan.name
        camera, effects = campaign.camera, campaign.effects
        if campaign.as_l1:
            exposure = self._set_up(first)
            raw = exposure.raw_frame(campaign.chance(first), effects, self._linearity)
            save_l1(path, raw.data, first, camera)
            return path, 1
        frames = [
            self._set_up(facts).frame(campaign.chance(facts), effects, campaign.units)
            for facts in plan.facts
        ]
        if camera.frames.err_and_dq:
            save_l2a(path, frames[0], first, camera, effects.err)
        else:
            save_plain(path, frames, first, camera)
        return path, len(plan.facts)

    def _set_up(self, facts: FrameFacts) -> Exposure:
        """The exposure of a frame; the stack's is made anew where the last was another stack's.

        Threads may make it twice; whichever stays, it is the same.
        """
        exposure = self._exposure
        wanted = (self._truth.true_gain(facts.gain), facts.exposure_time)
        if exposure is None or (exposure.gain, exposure.exposure_time) != wanted:
            exposure = Exposure.of(self._truth, *wanted)
            self._exposure = exposure
        return exposure.at(self._campaign.elapsed(facts), self._campaign.effects)


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
        elapsed=30 * 86400.0 + number * (exposure_time + PAUSE),
        stack=0,
        frame=number,
        program=1,
        visit_type=SCIENCE_VISIT,
    )
    if truth.camera.frames.err_and_dq:
        path = Path(directory) / facts.filename
        save_l2a(path, frame, facts, truth.camera, chosen.err)
    else:
        path = Path(directory) / f"science_{number + 1:05d}.fits"
        save_plain(path, [frame], facts, truth.camera)
    return path


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
    chosen = load_camera(camera or tables["camera"])
    return Campaign(
        stacks=tables["stacks"],
        camera=chosen.in_mode(tables["mode"]) if tables["mode"] else chosen,
        seed=tables["seed"],
        units=tables["units"],
        effects=tables["effects"],
        level=tables["level"],
        start=tables["start"],
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
            "mode": str(tables.get("mode", "")),
            "level": tables.get("level", "2a"),
            "start": datetime.fromisoformat(tables.get("start", BEGIN.isoformat())),
            "names": FileNames(tables.get("files", "l2a"), int(tables.get("frames_per_file", 1))),
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
    tables = _read_toml(folder / PLAN_FILE)
    # Names depend on neither k-gain nor unit.
    facts = stack_facts(tables["stacks"], 1.0, Unit.DN, tables["level"], tables["start"])
    others = CALIBRATION_FILES if tables["names"].files == "l1" else ()
    try:
        for plan in tables["names"].plans(facts):
            (folder / plan.name).unlink(missing_ok=True)
        for name in (TRUTH_FILE, *others):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be emptied ({error.strerror})") from None


def _write_text(path: Path, text: str) -> None:
    with whole_file(path) as file:
        file.write(text.encode("utf-8"))
