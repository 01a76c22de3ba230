"""A camera: what its frames and headers mean. Data only; `header_reader` reads by it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

from emdarks.cameras.frame_metadata import Unit
from emdarks.cameras.schema import (
    CONVENTIONAL,
    Before,
    Bias,
    ConventionalRule,
    CosmicRays,
    Counting,
    FrameFiles,
    HeaderRules,
    Keywords,
    Linearity,
    Mode,
    Names,
    NoiseFigures,
    RawFrames,
    Rule,
    Simulation,
    listed,
)
from emdarks.cameras.schema_errors import UNKNOWN_KEY
from emdarks.cameras.units import Value
from emdarks.detector import Regions, frame_shape
from emdarks.errors import InputError


def _start_and_stop(rows: Any) -> Any:
    """TOML has no null: an empty list means no rows, a missing stop "to the end"."""
    return [*rows, None, None][: max(2, len(rows))] if isinstance(rows, list) else rows


def _no_key(_: Any) -> Any:
    """What loading makes of the other keys is no key itself."""
    from pydantic_core import PydanticCustomError

    raise PydanticCustomError(UNKNOWN_KEY, "no key")


def _lower(units: Any) -> Any:
    if not isinstance(units, dict):
        return units
    return {spelling.lower(): unit for spelling, unit in units.items()}


@dataclass(frozen=True)
class Camera:
    """Geometry, keyword names, units and noise figures of one camera.

    Attributes
    ----------
    name : str
        As in ``--camera`` and in the CAMERA card.
    description : str
        One line.
    arrtype : str
        Array type of its dark frames, a key of ``geometry``.
    geometry : mapping
        As `emdarks.detector.detector_areas`.
    telemetry_rows : tuple of (int or None)
        Start and stop (as of a slice) of the rows without signal; start None means none.
    noise : NoiseFigures
        Typical figures; those of the mode that is simulated, where there is one. For frames
        see `noise_in`.
    keywords : Keywords
        Header keywords.
    values : mapping of str to Value
        What the value of a keyword means, where that is not plain.
    units : mapping of str to Unit
        How this camera's headers spell units, in lower case; empty: no unit.
    settings : mapping of str to tuple of str
        Names of readout settings, and the keywords of each. Frames that differ in one of
        them are never used together.
    conventional : ConventionalRule or None
        Yes: the frame bypassed the gain register, its EM gain is 1. A setting like the others,
        unless it ``joins``.
    mirrored : Rule or None
        Yes: columns run the other way. A setting like the others; images are not turned.
    darks : Rule or None
        Yes: the frame is a dark.
    sensitivity : tuple of {"header", "modes", "fixed"}
        Where the electrons per DN come from, best first: the header, the table of modes,
        ``noise.k_gain``.
    modes : tuple of Mode
        Figures by readout setting; the first that fits counts.
    bias : Bias or None
        What frames still hold of their bias level; None: nothing is subtracted, except
        a level that the mode gives.
    raw : RawFrames or None
        Yes: the frame is raw (level 1), and its bias is that of this table. None: the frames
        are all alike.
    cosmic_rays : CosmicRays
        How cosmic rays are looked for in raw frames.
    linearity : Linearity or None
        The table that makes raw frames linear; None where the file says nothing of it.
    counting : Counting or None
        Which frames hold counts above a threshold; None: none does.
    frames : FrameFiles
        How frames lie in files.
    simulation : Simulation
        What simulated frames are like.
    headers : HeaderRules
        How headers are merged.
    noise_of_no_mode : NoiseFigures or None
        Figures without those of any mode, where ``noise`` has a mode's; no key of camera files.
    """

    # For pydantic: a misspelt key, of any table, would leave a default in force.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    name: str
    description: str
    arrtype: str
    geometry: dict[str, dict[str, Any]]
    noise: NoiseFigures = field(default_factory=NoiseFigures)
    telemetry_rows: Annotated[tuple[int | None, int | None], Before(_start_and_stop)] = (None, None)
    keywords: Keywords = field(default_factory=Keywords)
    values: dict[str, Value] = field(default_factory=dict)
    units: Annotated[dict[str, Unit], Before(_lower)] = field(default_factory=dict)
    settings: dict[str, Names] = field(default_factory=dict)
    conventional: ConventionalRule | None = None
    mirrored: Rule | None = None
    darks: Rule | None = None
    sensitivity: Annotated[tuple[Literal["header", "modes", "fixed"], ...], Before(listed)] = (
        "header",
    )
    modes: tuple[Mode, ...] = ()
    bias: Bias | None = None
    raw: RawFrames | None = None
    cosmic_rays: CosmicRays = field(default_factory=CosmicRays)
    linearity: Linearity | None = None
    counting: Counting | None = None
    frames: FrameFiles = field(default_factory=FrameFiles)
    simulation: Simulation = field(default_factory=Simulation)
    headers: HeaderRules = field(default_factory=HeaderRules)
    # NaN is not equal to itself; what it is made of is compared.
    noise_of_no_mode: Annotated[NoiseFigures | None, Before(_no_key)] = field(
        default=None, compare=False
    )

    @property
    def regions(self) -> Regions:
        """Geometry as the public functions take it."""
        return self.geometry

    @property
    def header_rules(self) -> HeaderRules:
        """Rules for products: what a frame says of its gain and time, maps do not."""
        key = self.keywords
        own = (*key.exposure_time, *key.commanded_gain, *key.better_gains, *key.k_gain)
        missing = tuple(name for name in own if name not in self.headers.invalid_in_maps)
        return replace(self.headers, invalid_in_maps=(*self.headers.invalid_in_maps, *missing))

    @property
    def setting_names(self) -> tuple[str, ...]:
        """Names of its readout settings, as in `read_settings`."""
        rules = {CONVENTIONAL: self.conventional, "mirrored": self.mirrored}
        return (*self.settings, *(name for name, rule in rules.items() if rule is not None))

    @property
    def delivers_dn(self) -> bool:
        """Whether the file says how numbers of the converter become electrons.

        Then frames whose unit is not known are refused: taking DN for electrons would be an
        error of a factor, and of the bias level.
        """
        levels = self.bias is not None or any(mode.bias is not None for mode in self.modes)
        return levels or self.sensitivity != ("header",)

    def mode(self, name: str) -> Mode | None:
        """Mode of a name; None where there is none of that name."""
        return next((mode for mode in self.modes if mode.name == name), None)

    def noise_in(self, mode: str) -> NoiseFigures:
        """Noise figures in a mode: its own, and the camera's where it has none.

        Those of frames in no mode are NaN where only modes have them: never another mode's.
        """
        base = self._base_noise()
        return self._with_figures(base, mode)

    def _with_figures(self, base: NoiseFigures, mode: str) -> NoiseFigures:
        """Figures with a mode's own laid over them."""
        found = self.mode(mode)
        if found is None:
            return base
        names = ("k_gain", "read_noise", "clock_induced_charge", "dark_current")
        own = {name: value for name in names if (value := getattr(found, name)) is not None}
        return replace(base, **own)

    def _base_noise(self) -> NoiseFigures:
        """Figures of no mode, with what a user changed in ``noise`` after loading."""
        base = self.noise_of_no_mode
        if base is None:
            return self.noise
        loaded = asdict(self._with_figures(base, self.simulation.mode))
        now = asdict(self.noise).items()
        changed = {name: x for name, x in now if x == x and x != loaded[name]}
        return replace(base, **changed)

    def with_noise_in(self, mode: str) -> Camera:
        """The same camera, its noise that of frames in a mode; see `noise_in`."""
        base = self._base_noise()
        return replace(
            self,
            noise=self._with_figures(base, mode),
            noise_of_no_mode=base,
            simulation=replace(self.simulation, mode=mode),
        )

    def in_mode(self, mode: str) -> Camera:
        """The same camera, simulated and planned for in another mode.

        Raises
        ------
        InputError
            It has no such mode.
        """
        if self.mode(mode) is None:
            known = "; ".join(each.name for each in self.modes) or "none"
            raise InputError(f"camera {self.name} has no mode {mode!r}; it has: {known}")
        return self.with_noise_in(mode)

    def fitted_to(self, shape: tuple[int, int]) -> Camera:
        """The camera with the geometry of its windows of this shape.

        A camera whose frames are no windows is returned as it is, and so is one whose
        detector is smaller than the frame.
        """
        full = frame_shape(self.arrtype, self.regions)
        fits = shape[0] <= full[0] and shape[1] <= full[1] and min(shape) > 0
        if not self.frames.windows or shape == full or not fits:
            return self
        rows, cols = shape
        image = {"rows": rows, "cols": cols, "r0c0": [0, 0]}
        window = {"frame_rows": rows, "frame_cols": cols, "image": image}
        return replace(self, geometry={self.arrtype: window})
