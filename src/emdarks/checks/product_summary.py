"""A product as a report looks at it: planes, their errors, where to look, what is hot."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, camera_of_product
from emdarks.checks.formatting import value_in
from emdarks.checks.frame_statistics import robust_deviation
from emdarks.checks.stack_table import Stacks
from emdarks.detector import frame_shape, imaging_area_geom
from emdarks.dq import DQ, unsigned
from emdarks.errors import EmdarksWarning, InputTypeError
from emdarks.fit.noise_model import HOT_JUMP, intrinsic_variance
from emdarks.fit.pooled import HOT_MAD
from emdarks.photon_counts import CountLaw
from emdarks.products import BadPixelMap, Dark, DetectorNoiseMaps
from emdarks.products.dark import step_of_dark
from emdarks.products.model import absent_planes, model_of
from emdarks.products.synthesis import Maps

Array = npt.NDArray[Any]
Box = tuple[slice, slice]

#: Own errors by which a hot pixel must stand out.
OWN = 3.0
#: Below this many electrons a level is given in thousandths.
MILLI_BELOW = 0.1


@dataclass(frozen=True, slots=True)
class Plane:
    """One map of a product.

    Attributes
    ----------
    key, name : str
        Such as "D" and "dark current".
    base_unit : str
        Unit of the values.
    thousandths : bool
        Whether numbers are shown in thousandths of it.
    both_signs : bool
        Whether values scatter about 0.
    values, errors : ndarray, shape (rows, columns)
        In the unit itself.
    tail : float or None
        By how much the tail of one electron's gain changes a pixel; None where nobody knows.
    lift : float
        By how much at most the mean of a dark is too high that was made of published maps.
    """

    key: str
    name: str
    base_unit: str
    thousandths: bool
    both_signs: bool
    values: Array
    errors: Array
    tail: float | None
    lift: float = 0.0

    @property
    def scale(self) -> float:
        """What values are multiplied by to be shown."""
        return 1000.0 if self.thousandths else 1.0

    @property
    def unit(self) -> str:
        """Unit in which values are shown."""
        return f"10⁻³ {self.base_unit}" if self.thousandths else self.base_unit

    def show(self, value: float, digits: int = 3) -> str:
        """A value of this plane with its unit, in words."""
        return value_in(self.scale * value, self.unit, digits)

    @property
    def title(self) -> str:
        """Key and name."""
        return f"{self.name} {self.key}".strip()


@dataclass(frozen=True, slots=True)
class PlaneStatistics:
    """A plane in numbers, over the pixels with a value in the area that counts.

    Attributes
    ----------
    mean, mean_error, median : float
        Image mean with its standard error, and median.
    ordinary, scatter, error : float
        Of the pixels that are not hot: mean, standard deviation, and median of the errors.
    spread : float
        Standard deviation of the true values of the ordinary pixels; 0 where none is seen.
    negative : float
        Share of negative values.
    """

    mean: float
    mean_error: float
    median: float
    ordinary: float
    scatter: float
    error: float
    spread: float
    negative: float


class ProductSummary:
    """What all products have in common: a name, a header, flags, the area that counts.

    Parameters
    ----------
    product : DetectorNoiseMaps, Dark or BadPixelMap
        The product.
    area : tuple of slices, optional
        The imaging area; all pixels by default.
    """

    #: Flags of every pixel, shape (rows, columns).
    flags: Array
    #: Rows of the area without any value.
    telemetry: Array

    def __init__(self, product: Any, area: Box | None = None):
        self.product = product
        rows, cols = product.data.shape[-2:]
        self.shape: tuple[int, int] = rows, cols
        self.area: Box = area or (slice(0, rows), slice(0, cols))

    @property
    def name(self) -> str:
        """File name."""
        return str(self.product.filename or "(not saved)")

    @property
    def subtitle(self) -> str:
        """File, size and camera."""
        camera = self.card("CAMERA")
        return f"{self.name} · {self.size}" + (f" · camera {camera}" if camera else "")

    @property
    def size(self) -> str:
        """Rows and columns, in words."""
        return "{} × {} pixels".format(*self.shape)

    @property
    def header(self) -> Any:
        """Header of the image."""
        return self.product.ext_hdr

    @property
    def skipped(self) -> list[list[str]]:
        """Names of the bad frames that it was made without, and why each was left out."""
        if "SKIPPED" not in self.product.hdu_names:
            return []
        table = self.product.hdu_list["SKIPPED"].data
        columns = ([str(value) for value in table[name]] for name in ("FILENAME", "REASON"))
        return [list(row) for row in zip(*columns, strict=True)]

    def card(self, keyword: str, default: Any = None) -> Any:
        """A card of the image header, else of the primary one."""
        for header in (self.product.ext_hdr, self.product.pri_hdr):
            if keyword in header:
                return header[keyword]
        return default


class ProductView(ProductSummary):
    """What noise maps and darks have in common.

    Parameters
    ----------
    product : DetectorNoiseMaps or Dark
        The product.
    planes : sequence of Plane
        Its maps.
    area : tuple of slices or None
        The imaging area; None for the whole of a product that is no full frame.
    """

    def __init__(self, product: Any, planes: Sequence[Plane], area: Box | None):
        super().__init__(product, area)
        self.planes = tuple(planes)
        # All planes of maps have the same flags.
        self.flags = np.asarray(product.dq if product.dq.ndim == 2 else product.dq[0])
        self.telemetry = np.asarray(np.isnan(self.planes[0].values[self.area]).all(axis=1))

    @property
    def whole(self) -> bool:
        """Whether the area that counts is all there is."""
        rows, cols = self.area
        return (rows.stop - rows.start, cols.stop - cols.start) == self.shape

    @property
    def why_valueless(self) -> str:
        """Why pixels have no value, in words."""
        return "too few of their samples are unmasked"

    @property
    def published(self) -> bool:
        """Whether negative values that were fitted are not known: they became 0."""
        return False

    @property
    def brightness(self) -> Plane:
        """The plane that tells hot pixels."""
        return self.planes[-1]

    def number_in(self, keyword: str) -> float:
        """A number in a card; NaN where there is none, or -999 in its place."""
        value = self.card(keyword)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value == -999:
            return float("nan")
        return float(value)

    @cached_property
    def good(self) -> Array:
        """Pixels of the area that have a value and an error, shape of the area."""
        values, errors = (
            getattr(self.brightness, name)[self.area] for name in ("values", "errors")
        )
        # The reference implementation gives a pixel without a value 0 with an error of 0.
        nothing = (errors == 0) & (self.flags[self.area] != 0)
        return np.asarray(np.isfinite(values + errors) & ~nothing)

    @property
    def pixels(self) -> int:
        """Pixels of the area, telemetry rows left out."""
        return int(self.good.size - self.telemetry.sum() * self.good.shape[1])

    @property
    def valueless(self) -> int:
        """Pixels of the area without a value, telemetry rows left out."""
        return self.pixels - int(self.good.sum())

    @cached_property
    def hot_above(self) -> float:
        """From which value on a pixel counts as hot."""
        plane = self.brightness
        values = plane.values[self.area][self.good]
        if values.size == 0:
            return float("nan")
        median = float(np.median(values))
        error = float(np.median(plane.errors[self.area][self.good]))
        margin = HOT_MAD * max(robust_deviation(values - median), error) + (plane.tail or 0.0)
        return median + margin

    @cached_property
    def hot(self) -> Array:
        """Hot pixels of the area, shape of the area.

        Above the median by 5 times the robust scatter of all pixels or their median error,
        whichever is more, and the tail of one electron's gain; and by 3 of the pixel's own
        errors, which are larger where few samples are good.
        """
        plane = self.brightness
        values, errors = plane.values[self.area], plane.errors[self.area]
        if not self.good.any():
            return np.zeros(values.shape, dtype=bool)
        median = np.median(values[self.good])
        hot: Array = self.good & (values > self.hot_above) & (values - median > OWN * errors)
        return hot

    def in_frame(self, mask: Array) -> Array:
        """A mask of the area as one of the whole map."""
        out = np.zeros(self.shape, dtype=bool)
        out[self.area] = mask
        return out

    def statistics(self, plane: Plane) -> PlaneStatistics:
        """Numbers of a plane."""
        values, errors = plane.values[self.area], plane.errors[self.area]
        everything, cold = self.good, self.good & ~self.hot
        if not cold.any():
            return PlaneStatistics(*(float("nan"),) * 8)
        x, e = values[everything], errors[everything]
        ordinary, noise = values[cold], errors[cold]
        return PlaneStatistics(
            mean=float(x.mean()),
            mean_error=float(np.sqrt((e**2).sum()) / x.size),
            median=float(np.median(x)),
            ordinary=float(ordinary.mean()),
            scatter=float(ordinary.std()),
            error=float(np.median(noise)),
            spread=float(np.sqrt(intrinsic_variance(ordinary, noise**2))),
            negative=float((x < 0).mean()),
        )


def _tail_of_dark(header: Any) -> float | None:
    """Reach of one electron in a pixel of a dark; None of one from maps that do not say it."""
    step = step_of_dark(header)
    return HOT_JUMP * step if step or not header.get("IS_SYNTH") else None


class DarkView(ProductView):
    """A master dark.

    Parameters
    ----------
    product : Dark
        The dark.
    camera : str or Camera, optional
        Tells where the imaging area of a full frame is; by default the dark's CAMERA card.
    lift : float, optional
        Of a dark of published maps; see `Plane`.
    """

    def __init__(
        self, product: Dark, camera: str | Camera | None = None, lift: float | None = None
    ):
        self._lift = lift
        values = np.asarray(product.data, dtype=np.float64)
        plane = Plane(
            "",
            "dark",
            "e⁻/pixel",
            False,
            False,
            values,
            np.asarray(product.err[0], dtype=np.float64),
            _tail_of_dark(product.ext_hdr),
            lift or 0.0,
        )
        super().__init__(product, [plane], _imaging_area(product, camera))

    @property
    def published(self) -> bool:
        """Whether it was made of published maps for a comparison."""
        return self._lift is not None

    @property
    def synthesised(self) -> bool:
        """Whether it was made from noise maps."""
        return bool(self.header.get("IS_SYNTH"))

    @property
    def why_valueless(self) -> str:
        """Why pixels have no value, in words."""
        also = ", or they hold so many electrons that counts tell no rate"
        return super().why_valueless + (also if self.photon_counted else "")

    @property
    def photon_counted(self) -> bool:
        """Whether it holds rates of counted electrons."""
        return bool(self.product.photon_counted)

    @property
    def law(self) -> CountLaw | None:
        """The law of the counts of a photon-counted dark; None where its header has none."""
        law: CountLaw | None = self.product.count_law
        return law

    @property
    def gain(self) -> float:
        """Commanded EM gain."""
        return self.number_in("EMGAIN_C")

    @property
    def exposure_time(self) -> float:
        """Seconds."""
        return self.number_in("EXPTIME")


class BadPixelView(ProductSummary):
    """A bad-pixel map as a report looks at it.

    Parameters
    ----------
    product : BadPixelMap
        The map.
    """

    def __init__(self, product: BadPixelMap):
        super().__init__(product)
        data = np.asarray(product.data)
        flags: Array = data.astype(unsigned(data.dtype), copy=False)
        self.flags = flags
        self.telemetry = np.asarray(((flags & int(DQ.BAD_UNSPECIFIED)) != 0).all(axis=1))
        self.hot: Array = np.asarray((flags & int(DQ.HOT)) != 0)
        #: Dark current over that of the neighbourhood; None where a dark was judged.
        self.ratio = self._plane("RATIO")
        #: Excess over the neighbourhood, in its standard deviations; NaN where not judged.
        self.sigmas = self._plane("SIGMAS", np.full(self.shape, np.nan))

    def _plane(self, name: str, default: Any = None) -> Any:
        if name not in self.product.hdu_names:
            return default
        return np.asarray(self.product.hdu_list[name].data, dtype=np.float64)


def camera_of(product: Any, camera: str | Camera | None) -> Camera | None:
    """The camera asked for, else the one that a product's CAMERA card names, if it is known."""
    # Where it is not known a page goes by the area with dark current.
    chosen = camera_of_product(product, camera, unknown_is_none=True)
    return None if chosen is None else chosen.fitted_to(product.data.shape[-2:])


def _imaging_area(product: Any, camera: str | Camera | None) -> Box | None:
    """Imaging area of a full frame of a camera that is known."""
    known = camera_of(product, camera)
    shape = product.data.shape[-2:]
    if known is None or frame_shape(known.arrtype, known.regions) != shape:
        return None
    height, width, (row, col) = imaging_area_geom(known.arrtype, known.regions)
    return slice(row, row + height), slice(col, col + width)


class MapsView(ProductView):
    """Noise maps, as fitted: before negative values of the published ones became 0.

    Parameters
    ----------
    product : DetectorNoiseMaps
        The maps.
    camera : str or Camera, optional
        Tells where the imaging area is; by default the maps' CAMERA card, else the area with
        dark current.

    Attributes
    ----------
    stacks : Stacks or None
        The table of stacks.
    complaints : list of str
        What is wrong with the planes, in words.
    absent : ndarray of bool, shape (3,)
        Which of F, C and D the stacks cannot tell; ``planes`` lacks them.
    """

    def __init__(self, product: DetectorNoiseMaps, camera: str | Camera | None = None):
        planes, self.complaints = _planes(product)
        self._correlations = planes.correlations
        self.stacks = Stacks.of(product)
        steps = [product.electron_step(plane) for plane in np.eye(3)]
        by_history = [step if step is None else HOT_JUMP * step for step in steps]
        tail = by_history if self.stacks is None else list(self.stacks.electron)
        area = _imaging_area(product, camera) or _sensitive_area(planes.errors[2])
        values = np.array(planes.values, dtype=np.float64)
        # Where no light falls there is no dark current to be shown.
        outside = np.ones(values.shape[1:], dtype=bool)
        outside[area] = False
        values[2, outside] = np.nan
        milli = bool(np.nanmedian(np.abs(values[2][area])) < MILLI_BELOW)
        described = _described(model_of(product.ext_hdr), milli)
        self.absent = absent_planes(product.ext_hdr)
        super().__init__(
            product,
            [
                Plane(*words, values[k], np.asarray(planes.errors[k]), tail[k])
                for k, words in enumerate(described)
                if not self.absent[k]
            ],
            area,
        )

    def maps_of_area(self) -> Maps:
        """F, C and D of the imaging area, with errors and correlations."""
        values, errors = np.zeros((2, 3, *self.good.shape))
        for out, name in ((values, "values"), (errors, "errors")):
            out[~self.absent] = [getattr(plane, name)[self.area] for plane in self.planes]
        cut = (slice(None), *self.area)
        corr = None if self._correlations is None else self._correlations[cut]
        return Maps(values, errors, corr, self.product.dq[cut])

    @property
    def published(self) -> bool:
        """Whether only the published maps are known, negative values of which became 0."""
        return "SIGNED" not in self.product.hdu_names

    def published_planes(self) -> tuple[Plane, ...]:
        """The maps as published."""
        values = np.asarray(self.product.data, dtype=np.float64)[~self.absent]
        pairs = zip(self.planes, values, strict=True)
        return tuple(replace(plane, values=published) for plane, published in pairs)

    @property
    def ours(self) -> bool:
        """Whether the product has the further HDUs that emdarks writes."""
        return not self.published and self.stacks is not None

    def extra(self, name: str) -> Array | None:
        """A further plane of the product."""
        found: Array | None = self.product.extra(name)
        return found


def _described(model: str, milli: bool) -> tuple[tuple[str, str, str, bool, bool], ...]:
    """Key, name, unit, thousandths and both signs of F, C and D, or what stands in their place."""
    level = model == "one-gain"
    return (
        ("L", "level", "EM e⁻", False, True)
        if level
        else ("F", "fixed-pattern noise", "EM e⁻", False, True),
        ("C + t D", "charge of a frame", "e⁻/frame", False, False)
        if model == "one-time"
        else ("C", "clock-induced charge", "e⁻/frame", False, False),
        ("D", "dark current", "e⁻/s", milli, False),
    )


def _planes(product: DetectorNoiseMaps) -> tuple[Maps, list[str]]:
    """Planes that darks are made from, and what is wrong with them in words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EmdarksWarning)
        try:
            planes, _ = product.planes_for_darks()
        except InputTypeError as error:
            return Maps(product.data, product.err[0], None, product.dq), [str(error)]
    return planes, [str(warning.message) for warning in caught]


def _sensitive_area(dark_current_error: Array) -> Box:
    """Rows and columns with dark current: outside them its error is 0 by definition."""
    known = dark_current_error > 0
    if not known.any():
        return slice(0, known.shape[0]), slice(0, known.shape[1])
    rows, cols = (np.flatnonzero(known.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(cols[0]), int(cols[-1]) + 1)


def view_of(product: Any, camera: str | Camera | None = None) -> MapsView | DarkView:
    """Look at a product."""
    if isinstance(product, DetectorNoiseMaps):
        return MapsView(product, camera)
    return DarkView(product, camera)
