"""Which dark belongs to a stack of frames: one that is given, or one made from maps."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.arguments import is_number
from emdarks.cameras import Camera, read_temperature
from emdarks.checks.thresholds import TEMPERATURE_SPREAD
from emdarks.darks.synthesized_dark import dark_setting
from emdarks.detector import Regions, frame_shape, region_slices
from emdarks.errors import EmdarksWarning, InputError
from emdarks.photon_counts import CountLaw, SeriesLaw
from emdarks.products import DetectorNoiseMaps
from emdarks.products.dark import PHOTON_COUNTED, law_in
from emdarks.products.model import check_setting, dark_formula
from emdarks.products.synthesis import (
    ExpectedCounts,
    Maps,
    beyond_measured,
    count_law,
    synthesize_arrays,
    warn_beyond_measured,
)
from emdarks.stacks import Stack, check_product
from emdarks.stacks.counts import counted_alike, same_threshold
from emdarks.stacks.group import GAIN_WARNING, TIME_TOLERANCE
from emdarks.stacks.nominal_noise import nominal_noise
from emdarks.subtract.count_rates import CountRates

Array = npt.NDArray[Any]
Section = tuple[slice, slice]

#: Degrees Celsius; below it stand the -999 of headers.
ABSOLUTE_ZERO = -273.15
WHOLE: Section = (slice(None), slice(None))


class Sections(NamedTuple):
    """What is cut out of frames and of darks, so that they fit each other."""

    frame: Section
    dark: Section


def find_sections(
    frame: tuple[int, int], dark: tuple[int, ...], name: str, arrtype: str, regions: Regions
) -> Sections:
    """Find the pixels that frames and a dark have in common.

    Parameters
    ----------
    frame, dark : tuple of int
        Shapes: rows, columns.
    name : str
        The dark's file, for messages.
    arrtype, regions
        Geometry, see `emdarks.detector`.

    Returns
    -------
    Sections
        Everything where the shapes are the same; the image region of whichever is a
        whole frame where the other one is an image region.

    Raises
    ------
    InputError
        Neither.
    """
    if frame == dark:
        return Sections(WHOLE, WHOLE)
    image = region_slices(arrtype, "image", regions)
    whole = frame_shape(arrtype, regions)
    size = image[0].stop - image[0].start, image[1].stop - image[1].start
    if frame == whole and dark == size:
        return Sections(image, WHOLE)
    if frame == size and dark == whole:
        return Sections(WHOLE, image)
    raise InputError(
        f"{name}: has {_size(dark)} pixels, the frames {_size(frame)}; the camera's whole frames "
        f"have {_size(whole)}, its image region {_size(size)}. Give the camera of these frames, "
        "or a dark for them"
    )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


class DarkPlanes(NamedTuple):
    """A dark as far as its subtraction goes.

    Attributes
    ----------
    data, err : ndarray, shape (rows, columns)
        Detected electrons.
    dq : ndarray of unsigned integers, shape (rows, columns)
        Flags.
    """

    data: Array
    err: Array
    dq: Array


@dataclass(frozen=True, slots=True)
class DarkFacts:
    """What the header of a frame says of the dark taken off it.

    Attributes
    ----------
    name : str
        File of the dark or of the maps.
    synthesised : bool
        Made from noise maps, now or earlier.
    gain, exposure_time : float
        What the dark is for.
    words : str
        For the history.
    """

    name: str
    synthesised: bool
    gain: float
    exposure_time: float
    words: str


class DarkSource(ABC):
    """Gives the dark of each stack.

    Parameters
    ----------
    product : Dark or DetectorNoiseMaps, or an object like one
        What the darks are, or are made from.
    unnamed : str
        Its name where it has no file.
    """

    def __init__(self, product: Any, unnamed: str):
        self.product = product
        file = str(getattr(product, "filename", "") or "")
        self.name = file or unnamed
        self.paths = [str(product.filepath)] if file else []

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows and columns of its darks, uncut."""
        return tuple(np.shape(self.product.data)[-2:])

    @abstractmethod
    def check(self, stacks: Sequence[Stack], camera: Camera, k_gain: float | None) -> None:
        """Refuse stacks that it has no dark for; reads headers only."""

    @abstractmethod
    def facts(self, stack: Stack) -> DarkFacts:
        """What there is to say of a stack's dark."""

    @abstractmethod
    def planes(self, stack: Stack, section: Section) -> DarkPlanes:
        """A part of the dark of a stack."""

    def rates(self, stack: Stack) -> CountRates | None:
        """How counts of a stack become rates; None where darks are for samples."""
        return None


def dark_source(
    product: Any, use_signed: bool, stacks: Sequence[Stack], camera: Camera
) -> DarkSource:
    """Take a product as a source of darks.

    Parameters
    ----------
    product : Dark or DetectorNoiseMaps, or an object like one
        Its DATATYPE says which.
    use_signed : bool
        For noise maps; see `emdarks.darks.build_synthesized_dark`.
    stacks : sequence of Stack
        The frames: where their electrons are counted, so are those of the darks.
    camera : Camera
        Reads them.

    Raises
    ------
    InputError
        It is neither, or for the other kind of frames; or the frames are of both kinds.
    """
    header = getattr(product, "ext_hdr", {})
    kind, name = header.get("DATATYPE"), getattr(product, "filename", "") or "the dark"
    counted = _counted(stacks)
    if kind == "DetectorNoiseMaps":
        return (_CountsOfMaps if counted else _DarksOfMaps)(product, use_signed)
    if kind != "Dark":
        raise InputError(f"{name}: is neither a dark nor noise maps (DATATYPE is {kind!r})")
    _check_kind(header, name, np.ndim(product.data), stacks[0], counted)
    return _GivenCounts(product, camera) if counted else _GivenDark(product)


def _counted(stacks: Sequence[Stack]) -> bool:
    """Whether the electrons of all stacks are counted.

    Raises
    ------
    InputError
        Those of some are.
    """
    kinds = {counted_alike(stack) is not None: stack.frames[0].record for stack in stacks}
    if len(kinds) > 1:
        raise InputError(
            f"{kinds[True].name}: holds {kinds[True].counted}, {kinds[False].name} samples: "
            "subtract darks from the frames of each kind by themselves"
        )
    return True in kinds


def _check_kind(header: Any, name: str, axes: int, stack: Stack, counted: bool) -> None:
    """Refuse a counted dark for samples, and a dark of samples for counts."""
    frame = stack.frames[0].record
    if axes != 2:
        raise InputError(
            f"{name}: has {axes} axes, as photon-counted darks of several kinds in one file have; "
            "give one of rows and columns"
        )
    if (PHOTON_COUNTED in str(header.get("PC_STAT", ""))) == counted:
        return
    if counted:
        raise InputError(
            f"{name}: is a dark of means, {frame.name} holds {frame.counted}: give a "
            f"photon-counted dark (emdarks dark or synthesize, --photon-counting --threshold "
            f"{frame.counted.threshold if frame.counted else 0:g}), or noise maps"
        )
    raise InputError(
        f"{name}: is a photon-counted dark; frames that were not photon-counted, as {frame.name}, "
        "need an analog one, as emdarks dark and emdarks synthesize make it; or say in a camera "
        "file how they were counted ([counting])"
    )


def _warn_temperature(product: Any, name: str, stacks: Sequence[Stack], camera: Camera) -> None:
    dark = read_temperature(camera, (product.ext_hdr,))
    values = np.array([item.record.temperature for stack in stacks for item in stack.frames])
    values = values[np.isfinite(values) & (values > ABSOLUTE_ZERO)]
    if not dark > ABSOLUTE_ZERO or values.size == 0:
        return
    far = float(values[np.argmax(np.abs(values - dark))])
    if abs(far - dark) > TEMPERATURE_SPREAD:
        warnings.warn(
            f"{name}: was taken at {dark:.2f} degrees, frames at {far:.2f}; dark current depends "
            "on the temperature",
            EmdarksWarning,
            stacklevel=4,
        )


class _GivenDark(DarkSource):
    """One dark, for frames of its own gain, time and k-gain."""

    def __init__(self, product: Any):
        super().__init__(product, "the dark")

    def check(self, stacks: Sequence[Stack], camera: Camera, k_gain: float | None) -> None:
        for stack in stacks:
            differences = self._differences(stack, k_gain)
            if differences:
                count = f"{len(stack.frames)} of the frames, the first " if len(stacks) > 1 else ""
                raise InputError(
                    f"{self.name}: does not match {count}{stack.frames[0].record.name}: "
                    f"{'; '.join(differences)}. Give a dark for these frames, or noise maps"
                )
            check_product(self.product, self.name, stack, camera, k_gain)
        _warn_temperature(self.product, self.name, stacks, camera)
        for stack in stacks:
            self._warn_gain(stack)

    def _differences(self, stack: Stack, k_gain: float | None) -> list[str]:
        wanted = (
            ("EXPTIME", "exposure time", stack.exposure_time, TIME_TOLERANCE),
            ("EMGAIN_C", "EM gain", stack.commanded_gain, 1e-9),
            ("KGAINPAR", "k-gain", stack.k_gain, 1e-9),
        )
        found = []
        for keyword, words, value, tolerance in wanted:
            own = self.product.ext_hdr.get(keyword)
            if own is None:
                found.append(f"the dark's header has no {keyword}")
            elif keyword == "KGAINPAR" and k_gain is not None and float(own) == k_gain:
                # A dark of maps made with this k-gain has it there instead of the headers'.
                continue
            elif not math.isclose(float(own), value, rel_tol=tolerance):
                found.append(f"{words} {float(own):g} of the dark, {value:g} of the frame")
        return found

    def _warn_gain(self, stack: Stack) -> None:
        """Warn where a synthesised dark was computed with another gain than the frames'."""
        used = self.facts(stack).gain
        if self._synthesised and abs(used - stack.em_gain) > GAIN_WARNING * stack.em_gain:
            warnings.warn(
                f"{self.name}: was computed for an EM gain of {used:g}, {stack} was taken at "
                f"{stack.em_gain:g}; make the dark anew with emdarks synthesize --like",
                EmdarksWarning,
                stacklevel=4,
            )

    @property
    def _synthesised(self) -> bool:
        return bool(self.product.ext_hdr.get("IS_SYNTH", 0))

    def facts(self, stack: Stack) -> DarkFacts:
        header = self.product.ext_hdr
        applied = float(header.get("EMGAIN_A", -1.0)) if self._synthesised else -1.0
        gain = applied if applied > 0 else float(header["EMGAIN_C"])
        kind = "synthesised" if self._synthesised else "traditional"
        words = f"{self.name}, a {kind} dark for EM gain {gain:g} and {header['EXPTIME']:g} s"
        return DarkFacts(self.name, self._synthesised, gain, float(header["EXPTIME"]), words)

    def planes(self, stack: Stack, section: Section) -> DarkPlanes:
        dark = self.product
        err = np.asarray(dark.err)
        return DarkPlanes(
            np.asarray(dark.data)[section],
            (err[0] if err.ndim == 3 else err)[section],
            np.asarray(dark.dq)[section],
        )


class _GivenCounts(_GivenDark):
    """One photon-counted dark, for frames of its threshold, too."""

    def __init__(self, product: Any, camera: Camera):
        super().__init__(product)
        self._law = law_in(product.ext_hdr)
        self._camera = camera

    def _differences(self, stack: Stack, k_gain: float | None) -> list[str]:
        found = super()._differences(stack, k_gain)
        own: Any = self.product.ext_hdr.get("PCTHRESH")
        counted = counted_alike(stack)
        assert counted is not None
        if not (is_number(own) and own > 0):
            return [*found, "the dark's header has no threshold (PCTHRESH)"]
        if same_threshold(own, counted.threshold):
            return found
        ends = ", ".join(self._costs(stack, T) for T in (own, counted.threshold))
        return [
            *found,
            f"threshold {own:g} EM electrons of the dark, {counted.threshold:g} of the frame "
            f"({counted.threshold / own - 1:+.2%}; {ends})",
        ]

    def _costs(self, stack: Stack, threshold: float) -> str:
        """What a threshold makes of electrons, in words."""
        law = self._law_of(stack, threshold)
        if not law.read_noise > 0:
            return f"at {threshold:g} electrons below {threshold / law.gain:.3g} gains are lost"
        return (
            f"at {threshold:g} {law.lost():.2%} of single electrons are lost and read noise alone "
            f"counts {law.false_counts():.2g} a frame"
        )

    def _law_of(self, stack: Stack, threshold: float) -> CountLaw:
        """Read noise and register by the dark, else by headers and camera of the frames."""
        own = self._law
        if own is not None:
            return CountLaw(threshold, stack.em_gain, own.read_noise, own.stages)
        noise, stages = nominal_noise(stack, self._camera), self._camera.noise.register_stages
        return CountLaw(threshold, stack.em_gain, noise, stages)

    def facts(self, stack: Stack) -> DarkFacts:
        found, header = super().facts(stack), self.product.ext_hdr
        made = "synthesised" if self._synthesised else "measured"
        words = (
            f"{self.name}, a {made} photon-counted dark for EM gain {found.gain:g}, "
            f"{header['EXPTIME']:g} s and counts above {header['PCTHRESH']:g} EM electrons"
        )
        return replace(found, words=words)

    def rates(self, stack: Stack) -> CountRates:
        counted = counted_alike(stack)
        assert counted is not None
        # Darks of the reference, and those made like it, are rates of the series.
        if self._law is None or self.product.ext_hdr.get("PCESTIM") == "reference":
            return CountRates(SeriesLaw(counted.threshold, stack.em_gain))
        return CountRates(self._law_of(stack, counted.threshold))


class _DarksOfMaps(DarkSource):
    """Darks made from noise maps when they are asked for; the last one is kept."""

    def __init__(self, product: Any, use_signed: bool):
        maps = DetectorNoiseMaps.of_object(product)
        super().__init__(maps, "noise maps")
        self._maps, self._which = maps.planes_for_darks(use_signed)
        self._last: tuple[Any, DarkPlanes] | None = None

    def check(self, stacks: Sequence[Stack], camera: Camera, k_gain: float | None) -> None:
        for stack in stacks:
            check_product(self.product, self.name, stack, camera, k_gain)
            header = self.product.ext_hdr
            check_setting(header, self.name, stack.em_gain, stack.exposure_time)
        _warn_temperature(self.product, self.name, stacks, camera)
        found = [beyond_measured(self.product, s.em_gain, s.exposure_time) for s in stacks]
        warn_beyond_measured(self.name, found, stacklevel=4)

    def facts(self, stack: Stack) -> DarkFacts:
        gain, time = stack.em_gain, stack.exposure_time
        words = (
            f"synthesised from {self._which} of {self.name}: "
            f"{dark_formula(self.product.ext_hdr)} with EM gain "
            f"g = {gain:g} and t = {time:g} s"
        )
        beyond = beyond_measured(self.product, gain, time)
        words += f"; beyond what was measured: {beyond}" if beyond else ""
        return DarkFacts(self.name, True, gain, time, words)

    def planes(self, stack: Stack, section: Section) -> DarkPlanes:
        key = dark_setting(stack), section, counted_alike(stack)
        last = self._last
        if last is None or last[0] != key:
            # Threads may make it twice; whichever stays, it is the same.
            last = self._last = key, self._made(self._maps.cut(section), stack)
        return last[1]

    def _made(self, maps: Maps, stack: Stack) -> DarkPlanes:
        setting = dark_setting(stack)
        return DarkPlanes(*synthesize_arrays(maps, setting.gain, setting.exposure_time))


class _CountsOfMaps(_DarksOfMaps):
    """Photon-counted darks made from noise maps, for any threshold."""

    def check(self, stacks: Sequence[Stack], camera: Camera, k_gain: float | None) -> None:
        super().check(stacks, camera, k_gain)
        for stack in stacks:
            self._law(stack)

    def _law(self, stack: Stack) -> CountLaw:
        counted = counted_alike(stack)
        assert counted is not None
        law = count_law(self.product, stack.em_gain, counted.threshold, None)
        assert law is not None
        return law

    def facts(self, stack: Stack) -> DarkFacts:
        found, law = super().facts(stack), self._law(stack)
        words = f"{found.words}; photon-counted, as counts above {law.threshold:g} EM electrons"
        return replace(found, words=f"{words} show it")

    def rates(self, stack: Stack) -> CountRates:
        return CountRates(self._law(stack))

    def _made(self, maps: Maps, stack: Stack) -> DarkPlanes:
        found = ExpectedCounts.of(maps, dark_setting(stack).exposure_time, self._law(stack))
        return DarkPlanes(found.rate, found.rate_error, np.bitwise_or.reduce(maps.dq, axis=0))
