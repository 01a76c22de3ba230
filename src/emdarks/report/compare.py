"""Has the detector changed? A product against an earlier one, by their own errors."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np

from emdarks import plots
from emdarks.cameras import Camera
from emdarks.checks import Finding
from emdarks.checks.product_summary import (
    Array,
    Box,
    DarkView,
    MapsView,
    Plane,
    ProductView,
    camera_of,
    view_of,
)
from emdarks.checks.thresholds import SIGNIFICANT
from emdarks.data import Dark, DetectorNoiseMaps
from emdarks.detector import frame_shape, region_slices
from emdarks.errors import InputError
from emdarks.products.model import SAME_GAIN, model_of
from emdarks.products.provenance import parent_names
from emdarks.report.page import WIDTH, Section, one_line, render
from emdarks.report.sections import MOST, map_height

#: Share of pixels that a normal law has beyond 5 standard deviations.
BEYOND_FIVE = 5.733e-7
#: Relative difference of gain, or of time, below which darks are for the same frames.
SAME_SETTING = 1e-3


@dataclass(frozen=True, slots=True)
class PlaneChange:
    """How one map has changed: new minus old.

    Attributes
    ----------
    key, name, unit : str
        The map, and the unit of the numbers here.
    pixels : int
        Pixels of the imaging area with a value in both products, hot in neither.
    mean, error : float
        Change of the image mean of these, and its standard error.
    relative : float
        The change over the old mean; NaN where that is not above its error.
    pulls : float
        Standard deviation of change over combined error; 1 where nothing changed.
    changed : int or None
        Pixels, hot ones included, that changed by more than 5 combined errors and the reach of
        one electron's gain; None where that reach is not known.
    expected : float
        Number of these where nothing changed.
    lift : float
        Where negative values became 0 in either product: by how much at most that can have
        changed the mean; else 0.
    """

    key: str
    name: str
    unit: str
    pixels: int
    mean: float
    error: float
    relative: float
    pulls: float
    changed: int | None
    expected: float
    lift: float = 0.0

    @property
    def sigmas(self) -> float:
        """Change of the mean, less what clipping can have done to it, in standard errors."""
        beyond = max(abs(self.mean) - self.lift, 0.0)
        return math.copysign(beyond, self.mean) / self.error if self.error > 0 else 0.0

    @property
    def drifted(self) -> bool:
        """Whether the image mean changed by more than 5 standard errors."""
        return abs(self.sigmas) > SIGNIFICANT

    @property
    def more_changed(self) -> bool:
        """Whether more pixels changed than chance explains."""
        if self.changed is None:
            return False
        return self.changed > self.expected + SIGNIFICANT * math.sqrt(max(self.expected, 1.0))


@dataclass(frozen=True, slots=True)
class Comparison:
    """A product against an earlier one.

    Attributes
    ----------
    old : str
        File name of the earlier one.
    planes : tuple of PlaneChange
        One per map.
    new_hot, gone_hot, kept_hot : int
        Pixels that became hot, that are so no more (both changed by more than 5 combined
        errors), and that stayed hot.
    offset, offset_error : float
        Change of the bias offset, DN; NaN where there is none.
    shared : int
        Input files that both products were made of.
    words : tuple of str
        What has changed, in words; empty where nothing has.
    published : str
        The product that has published maps only, in which negative values became 0: then the
        published maps of both are compared. Empty where both have the maps as fitted.
    """

    old: str
    planes: tuple[PlaneChange, ...]
    new_hot: int
    gone_hot: int
    kept_hot: int
    offset: float
    offset_error: float
    shared: int
    words: tuple[str, ...]
    published: str = ""

    @property
    def drifted(self) -> bool:
        """Whether anything has changed beyond the errors."""
        return bool(self.words)

    @property
    def offset_changed(self) -> bool:
        """Whether the bias offset changed by more than 5 standard errors."""
        return abs(self.offset) > SIGNIFICANT * self.offset_error > 0

    @property
    def gain_changed(self) -> bool:
        """Whether C and D changed by the same share: that is what a wrong gain does."""
        pair = [plane for plane in self.planes if plane.key in ("C", "D")]
        if len(pair) < 2 or not all(p.drifted and math.isfinite(p.relative) for p in pair):
            return False
        errors = [abs(plane.relative * plane.error / plane.mean) for plane in pair]
        # Errors of C and D are anticorrelated: that of the difference is about their sum.
        return abs(pair[0].relative - pair[1].relative) <= 3 * sum(errors)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "drifted": self.drifted}


def compare_products(
    new: DetectorNoiseMaps | Dark,
    old: DetectorNoiseMaps | Dark,
    camera: str | Camera | None = None,
) -> Comparison:
    """Has the detector changed? Compare two products pixel by pixel.

    Parameters
    ----------
    new, old : DetectorNoiseMaps or Dark
        Of one kind and shape; darks of one EM gain and exposure time. Noise maps may stand
        for the old dark: it is then made from them.
    camera : str or Camera, optional
        Tells where the imaging area of full-frame darks is; by default their CAMERA card.

    Returns
    -------
    Comparison

    Raises
    ------
    InputError
        They cannot be compared; says why.
    """
    view = view_of(new, camera)
    return compare_views(view, matching_view(view, view_of(old, camera), camera))


def compare_views(new: ProductView, old: ProductView) -> Comparison:
    """Compare products that match; see `matching_view`."""
    both = new.good & old.good
    if not both.any():
        raise InputError(f"{old.name}: has no pixel with a value in common with {new.name}")
    cold = both & ~new.hot & ~old.hot
    pairs = alike(new, old)
    appeared, vanished = _hot_changes(new, old, both)
    found = Comparison(
        old=old.name,
        planes=tuple(_change(one, other, new.area, both, cold) for one, other in pairs),
        published=next((view.name for view in (new, old) if view.published), ""),
        new_hot=appeared,
        gone_hot=vanished,
        kept_hot=int((new.hot & old.hot).sum()),
        offset=new.number_in("B_O") - old.number_in("B_O"),
        offset_error=math.hypot(new.number_in("B_O_ERR"), old.number_in("B_O_ERR")),
        shared=_shared(new, old),
        words=(),
    )
    return replace(found, words=tuple(map(one_line, render("changes.html.j2", found=found).steps)))


def matching_view(
    new: ProductView, old: ProductView, camera: str | Camera | None = None
) -> ProductView:
    """The old product in the form of the new one.

    Raises
    ------
    InputError
        They cannot be compared; says why.
    """
    if isinstance(new, DarkView) and isinstance(old, MapsView):
        old = _dark_of(old, new, camera)
    if type(new) is not type(old):
        raise InputError(
            f"{old.name}: is a dark and cannot be compared with noise maps; give earlier noise maps"
        )
    if new.shape != old.shape:
        raise InputError(
            f"{old.name}: has {old.shape[0]} x {old.shape[1]} pixels, {new.name} {new.shape[0]} x "
            f"{new.shape[1]}; only products of one shape can be compared"
        )
    if new.area != old.area:
        raise InputError(
            f"{old.name}: its imaging area is another one than that of {new.name}; only products "
            "of one camera can be compared"
        )
    if isinstance(new, DarkView) and isinstance(old, DarkView):
        _check_setting(new, old)
    _check_models(new, old)
    return old


def _dark_of(maps: MapsView, dark: DarkView, camera: str | Camera | None) -> DarkView:
    """The dark that earlier maps give for the setting of a dark."""
    product: DetectorNoiseMaps = maps.product
    section = None if maps.shape == dark.shape else _image_section(maps, dark, camera)
    law = dark.law
    made = product.synthesize(
        dark.gain,
        dark.exposure_time,
        kgain=1.0,
        section=section,
        threshold=None if law is None else law.threshold,
        read_noise=None if law is None else law.read_noise,
    )
    made.filename = maps.name
    return DarkView(made, camera, lift=_lift_of_dark(maps, dark) if maps.published else None)


def _lift_of_dark(maps: MapsView, dark: DarkView) -> float:
    """By how much at most a dark is too high that was made of published maps."""
    cold = maps.good & ~maps.hot
    times = {"C": 1.0, "D": dark.exposure_time}
    return sum(times.get(p.key, 0.0) * _lift(p.values[maps.area][cold]) for p in maps.planes)


def _image_section(
    maps: MapsView, dark: DarkView, camera: str | Camera | None
) -> tuple[slice, slice]:
    """Where the pixels of a dark that is no full frame are in the maps."""
    known = camera_of(dark.product, camera) or camera_of(maps.product, camera)
    if known is not None:
        section = rows, cols = region_slices(known.arrtype, "image", known.regions)
        fits = (rows.stop - rows.start, cols.stop - cols.start) == dark.shape
        if fits and frame_shape(known.arrtype, known.regions) == maps.shape:
            return section
    raise InputError(
        f"{maps.name}: has {maps.shape[0]} x {maps.shape[1]} pixels, {dark.name} {dark.shape[0]} x "
        f"{dark.shape[1]}; make it with emdarks dark --full-frame to compare it with these maps"
    )


def _check_models(new: ProductView, old: ProductView) -> None:
    """Refuse maps that do not hold the same, or not at the same gain or time."""
    one, other = ([view.number_in(key) for key in ("MAPGAIN", "MAPTIME")] for view in (new, old))
    if not isinstance(new, MapsView):
        return
    same = model_of(new.header) == model_of(old.header)
    if not same or not np.allclose(one, other, rtol=SAME_GAIN, equal_nan=True):
        raise InputError(
            f"{old.name}: holds other maps than {new.name} ({_model(old)}, {_model(new)}); only "
            "maps of one model, and of one gain or time where they have one, can be compared"
        )


def _model(view: ProductView) -> str:
    model = model_of(view.header)
    key, unit = ("MAPGAIN", "") if model == "one-gain" else ("MAPTIME", " s")
    return model if model == "full" else f"{model} {view.number_in(key):g}{unit}"


def _check_setting(new: DarkView, old: DarkView) -> None:
    if new.photon_counted != old.photon_counted:
        counted, other = (new, old) if new.photon_counted else (old, new)
        raise InputError(
            f"{counted.name}: is a photon-counted dark and {other.name} is not, and F acts on both "
            "in other ways; only darks of one kind can be compared"
        )
    pairs = (new.gain, old.gain), (new.exposure_time, old.exposure_time)
    if any(abs(a - b) > SAME_SETTING * abs(b) for a, b in pairs):
        raise InputError(
            f"{old.name}: is a dark of EM gain {old.gain:g} and {old.exposure_time:g} s, "
            f"{new.name} of EM gain {new.gain:g} and {new.exposure_time:g} s; only darks of one "
            "setting can be compared"
        )


# The numbers


def alike(new: ProductView, old: ProductView) -> list[tuple[Plane, Plane]]:
    """Planes of both: as published where one of them has no others, else as fitted."""
    published = new.published or old.published
    one, other = (
        view.published_planes() if published and isinstance(view, MapsView) else view.planes
        for view in (new, old)
    )
    return list(zip(one, other, strict=True))


def _difference(one: Plane, other: Plane, area: Box) -> tuple[Array, Array, Array]:
    """Change, its combined error, and pixels that changed by more than 5 of these and the tail."""
    difference = one.values[area] - other.values[area]
    error = np.hypot(one.errors[area], other.errors[area])
    return difference, error, np.abs(difference) > 5 * error + (_tail(one, other) or 0.0)


def _tail(one: Plane, other: Plane) -> float | None:
    """Reach of one electron's gain; None where it is not known."""
    return None if one.tail is None or other.tail is None else max(one.tail, other.tail)


def _change(one: Plane, other: Plane, area: Box, both: Array, cold: Array) -> PlaneChange:
    difference, error, changed = _difference(one, other, area)
    d, s = difference[cold], error[cold]
    pulls = d[s > 0] / s[s > 0]
    mean = float(d.mean()) if d.size else math.nan
    old_mean = float(other.values[area][cold].mean()) if d.size else math.nan
    old_error = _error_of_mean(other.errors[area][cold])
    lift = max(other.lift, *(_lift(plane.values[area][cold]) for plane in (one, other)))
    return PlaneChange(
        key=one.key,
        name=one.name,
        unit=one.unit,
        pixels=int(d.size),
        mean=one.scale * mean,
        error=one.scale * _error_of_mean(s),
        relative=mean / old_mean if old_mean > SIGNIFICANT * old_error else math.nan,
        pulls=float(pulls.std()) if pulls.size else math.nan,
        changed=None if _tail(one, other) is None else int(changed[both].sum()),
        expected=BEYOND_FIVE * int(both.sum()),
        lift=one.scale * lift,
    )


def _lift(values: Array) -> float:
    """By how much at most the mean rose where negative values became 0; 0 where none did.

    Twice what it is where noise is normal below the median: of a median m and a share p of zeros,
    s phi(m/s) - p m with s = m / Phi^-1(1 - p). Where most became 0, all of the mean.
    """
    if not values.size or values.min() != 0:
        return 0.0
    share, median = float((values == 0).mean()), float(np.median(values))
    if share >= 0.5:
        return float(values.mean())
    reach = NormalDist().inv_cdf(1.0 - share)
    return 2.0 * median * (NormalDist().pdf(reach) / reach - share)


def _error_of_mean(errors: Array) -> float:
    return float(np.sqrt((errors**2).sum()) / max(errors.size, 1))


def _hot_changes(new: ProductView, old: ProductView, both: Array) -> tuple[int, int]:
    """Pixels that became hot, and that are so no more, by more than their errors."""
    difference, _, changed = _difference(*alike(new, old)[-1], new.area)
    changed &= both
    appeared = changed & new.hot & ~old.hot & (difference > 0)
    vanished = changed & old.hot & ~new.hot & (difference < 0)
    return int(appeared.sum()), int(vanished.sum())


def _shared(new: ProductView, old: ProductView) -> int:
    """Input files that both were made of: by name, and by stored checksum where it is known."""
    tables = [
        view.product.hdu_list["INPUTS"].data
        for view in (new, old)
        if "INPUTS" in view.product.hdu_names
    ]
    if len(tables) == 2:
        columns = ("FILENAME", "FRAME", "SIZE", "DATASUM")
        one, other = (
            set(zip(*([str(v) for v in table[name]] for name in columns), strict=True))
            for table in tables
        )
        return len(one & other)
    return len(set(parent_names(new.header)) & set(parent_names(old.header)))


# The section


def comparison_section(
    new: ProductView, old: ProductView, found: Comparison
) -> tuple[list[Section], list[Finding]]:
    """A section about the comparison, and what it means for the product in front."""
    if found.drifted:
        finding = Finding(
            "warning",
            "change",
            f"Changed since {found.old}: {' '.join(found.words)}",
            remedy="Use the old product for frames taken before the change and the new one for "
            "frames taken after it; find out when it happened.",
        )
    else:
        text = f"Nothing has changed since {found.old} beyond the errors."
        finding = Finding("fine", "change", text)
    dates = [str(view.card("DRPCTIME", ""))[:10] for view in (old, new)]
    section = render(
        "comparison.html.j2", {"comparison": _figure(new, old)}, found=found, dates=dates
    )
    return section.sections, [finding]


def _figure(new: ProductView, old: ProductView) -> plots.Figure:
    figure = plots.new_figure(WIDTH, len(new.planes) * map_height(new, WIDTH / 2))
    grid = figure.subplots(len(new.planes), 2, squeeze=False)
    both = new.good & old.good
    for (one, other), axes in zip(alike(new, old), grid, strict=True):
        difference, error, changed = _difference(one, other, (slice(None), slice(None)))
        pulls = np.divide(difference, error, np.full_like(error, np.nan), where=error > 0)
        inside = np.where(both, pulls[new.area], np.nan)
        limits = plots.robust_limits(plots.shrink(inside, MOST), symmetric=True)
        plots.show_map(
            pulls, f"change of {one.key or 'the dark'}", "combined errors", limits=limits,
            both_signs=True, most=MOST, keep=changed, ax=axes[0],
        )  # fmt: skip
        if not new.whole:
            plots.outline(axes[0], new.area)
        plots.pull_histogram(inside, "imaging area", "change / combined error", ax=axes[1])
    return figure
