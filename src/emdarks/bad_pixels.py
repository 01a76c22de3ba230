"""Bad pixels: hot and warm ones that stand out of their neighbourhood, unfittable ones.

Method page, eq. 13 (standout) and eq. 14 (ordinary): a pixel of value x and error e is hot where

    x - m > k sigma + 9.2 J,    sigma^2 = max(s^2 - ebar^2, 0) + e0^2,
    e0^2 = max(e^2 - 2 J (x - m), min(e, ebar)^2)

with the local median m, the local scatter s (1.4826 times the median absolute deviation) and
the local median ebar of the errors, all of windows around the pixel. s^2 - ebar^2 is how far
ordinary pixels really differ; e0 is the error that this pixel would have if it were
ordinary: its own, less the noise of the charge by which it stands out. J is what one average
electron of one sample does to x, and 9.2 = ln(10^4) the tail of its gain: without that term a
lucky electron of a short stack makes a hot pixel. Hot pixels do not move m, s and ebar.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.arguments import check_flag, is_number, is_whole
from emdarks.cameras import BUILTIN, Camera, camera_of_product, load_camera
from emdarks.detector import Regions, frame_shape, imaging_area_geom, region_slices
from emdarks.dq import DQ, unsigned
from emdarks.errors import InputError
from emdarks.fit.noise_model import HOT_JUMP
from emdarks.fits import astropy_fits as fits
from emdarks.fits import image_hdu
from emdarks.products import BadPixelMap, DetectorNoiseMaps, load_product
from emdarks.products.dark import step_of_dark
from emdarks.products.header import drop_map_cards, stamp
from emdarks.products.model import model_of

__all__ = [
    "Neighbourhood",
    "StandingOut",
    "build_bad_pixel_map",
    "ds9_regions",
    "hot_pixel_table",
    "neighbourhood",
    "standing_out",
]

Array = npt.NDArray[Any]
Section = tuple[slice, slice]

#: Good pixels that a window needs to tell median and scatter.
ENOUGH = 30

# Cards of darks that mean nothing in a bad-pixel map.
_OF_DARKS = ("BUNIT", "IS_SYNTH", "PC_STAT", "PCTHRESH", "NUM_FR", "ONE_ELEC", "KGAINUSE")


class Neighbourhood(NamedTuple):
    """What pixels around each pixel are like.

    Attributes
    ----------
    median, scatter, error : ndarray, shape (rows, columns)
        Median, 1.4826 times the median absolute deviation (of values above the median, where
        negative ones became 0), median of the errors.
    """

    median: Array
    scatter: Array
    error: Array


class StandingOut(NamedTuple):
    """What pixels are judged by.

    Attributes
    ----------
    around : Neighbourhood
        What their neighbours are like.
    sigma, limit : ndarray, shape (rows, columns)
        How far a pixel may lie off its neighbours if it were ordinary, and the value above which
        it stands out; NaN where it is not known.
    """

    around: Neighbourhood
    sigma: Array
    limit: Array


@dataclass(frozen=True, slots=True)
class _Judged:
    """What of a product is judged, over the whole of it.

    Attributes
    ----------
    values, errors, dq : ndarray, shape (rows, columns)
        Dark current or dark, its error, flags.
    step : float
        What one average electron does to a value; 0 where that is not known.
    has_ratio : bool
        Whether a value over its neighbours' is a ratio of dark currents.
    """

    values: Array
    errors: Array
    dq: Array
    step: float
    has_ratio: bool


class _Verdict(NamedTuple):
    """Planes of the result, shape (rows, columns)."""

    flags: Array
    sigmas: Array
    ratio: Array


def build_bad_pixel_map(
    maps_or_dark: Any,
    *,
    sigmas: float = 5.0,
    warm: float = 5.0,
    hot: float = 50.0,
    window: int = 64,
    full_frame: bool = False,
    use_signed: bool = True,
    camera: str | Camera | None = None,
    detector_regions: Regions | None = None,
) -> BadPixelMap:
    """Find pixels that are hot, warm, or could not be calibrated.

    Parameters
    ----------
    maps_or_dark : DetectorNoiseMaps, Dark, an object like one, or the path of a file
        Noise maps, whose dark current is judged (of maps of one exposure time the charge
        C + t D, as if it were a dark), or a master dark.
    sigmas : float
        How far above its neighbourhood a pixel must lie, k of the formula in
        `emdarks.bad_pixels`.
    warm, hot : float
        For noise maps: dark current over the local median from which on a pixel is warm,
        and from which on it is hot. A dark holds other charge, too: there every pixel that
        stands out counts as hot.
    window : int
        Side of the windows, pixels; they lie half a window apart, and what they give is
        interpolated.
    full_frame : bool
        Map of the whole frame instead of the image region. Outside the imaging area there
        is no dark current: nothing is judged, only flags are passed on.
    use_signed : bool
        For noise maps: judge the dark current before clipping.
    camera : str or Camera, optional
        Geometry; by default that of the built-in camera that the product names, ``excam``
        where it names none.
    detector_regions : mapping, optional
        Geometry, instead of the camera's.

    Returns
    -------
    BadPixelMap
        Flags of shape (rows, columns): 8 where hot or warm; 1 where value or error are not
        finite (unfittable pixels, telemetry rows); and the flags of the product. HDUs
        ``SIGMAS``, (x - m) / sigma, and ``RATIO``, x / m. The header has the numbers of hot
        and warm pixels and the thresholds.

    Raises
    ------
    InputError
        The product is neither noise maps nor an analog dark, has not the shape of the
        camera's frames, names a camera that is not built in, or a threshold makes no sense.

    Notes
    -----
    Noise alone lifts an ordinary pixel over the threshold, at 5 sigma, in 3 of 10 million
    cases where it is normal, and in 3 of a million, at worst, where it is that of few
    electrons (a Poisson number of exponentially distributed charges); errors that are too
    small raise that. Pixels that are brighter than their neighbours are found whatever the
    reason: without a ratio (``warm``), deep maps flag the tail of ordinary pixels, too.
    """
    _check_thresholds(sigmas, warm, hot)
    if not is_whole(window) or window < 8:
        raise InputError(f"window is {window!r}; it must be at least 8 pixels")
    window = int(window)
    check_flag("full_frame", full_frame)
    check_flag("use_signed", use_signed)
    if isinstance(maps_or_dark, (str, os.PathLike)):
        maps_or_dark = load_product(maps_or_dark)
    chosen = camera_of_product(maps_or_dark, camera) or load_camera(BUILTIN[0])
    chosen = chosen.fitted_to(np.shape(maps_or_dark.data)[-2:])
    regions = chosen.regions if detector_regions is None else detector_regions
    judged = _judged(maps_or_dark, use_signed)
    area, result = _areas(judged, maps_or_dark, chosen.arrtype, regions, full_frame)
    verdict = _judge(judged, area, sigmas, warm, window, _name(maps_or_dark))
    cut = _Verdict(*(np.ascontiguousarray(plane[result]) for plane in verdict))
    thresholds = {
        "BPSIGMA": (sigmas, "sigmas above neighbourhood, from which on hot"),
        "BPWINDOW": (window, "pixels, side of the windows"),
        "BPSTEP": (judged.step, "what one average electron does, 0: not known"),
    }
    if judged.has_ratio:
        thresholds["BPWARM"] = (warm, "D over local median, from which on warm")
        thresholds["BPHOT"] = (hot, "D over local median, from which on hot")
    return _product(maps_or_dark, cut, thresholds, hot if judged.has_ratio else None)


def _check_thresholds(sigmas: float, warm: float, hot: float) -> None:
    if not is_number(sigmas) or sigmas <= 0:
        raise InputError(f"sigmas is {sigmas!r}; it must be a positive number")
    if not (is_number(warm) and is_number(hot)) or not 0 <= warm <= hot:
        raise InputError(f"warm is {warm!r} and hot {hot!r}; give 0 <= warm <= hot")


def _name(product: Any) -> str:
    return str(getattr(product, "filename", "") or "the product")


def _judged(product: Any, use_signed: bool) -> _Judged:
    header = getattr(product, "ext_hdr", {})
    kind = header.get("DATATYPE")
    if kind == "DetectorNoiseMaps":
        maps = DetectorNoiseMaps.of_object(product)
        planes, _ = maps.planes_for_darks(use_signed)
        # Maps of one exposure time have no dark current; C + t D is the charge of a dark.
        k = 1 if model_of(header) == "one-time" else 2
        step = maps.electron_step(np.eye(3)[k])
        if step is None:
            raise InputError(
                f"{_name(product)}: has no table STACKS, and its HISTORY names no stacks, so what "
                "one electron does to a pixel is not known, and pixels with a lucky electron would "
                "count as hot; make the maps with emdarks noisemaps, or judge a traditional dark"
            )
        flags = np.bitwise_or.reduce(_unsigned(planes.dq), axis=0)
        return _Judged(planes.values[k], planes.errors[k], flags, step, k == 2)
    if kind != "Dark":
        raise InputError(f"{_name(product)}: is neither noise maps nor a dark")
    data, err = np.asarray(product.data), np.asarray(product.err)
    if data.ndim != 2:
        raise InputError(f"{_name(product)}: is a photon-counted dark; an analog one is needed")
    err = err[0] if err.ndim == 3 else err
    return _Judged(data, err, _unsigned(np.asarray(product.dq)), step_of_dark(header), False)


def _unsigned(dq: Array) -> Array:
    return dq.astype(unsigned(dq.dtype), copy=False)


def _areas(
    judged: _Judged, product: Any, arrtype: str, regions: Regions, full_frame: bool
) -> tuple[Section, Section]:
    """Where pixels are judged, and what becomes the map."""
    shape, whole = judged.values.shape, frame_shape(arrtype, regions)
    image = region_slices(arrtype, "image", regions)
    everything = slice(None), slice(None)
    if shape == whole:
        rows, cols, (row0, col0) = imaging_area_geom(arrtype, regions)
        area = slice(row0, row0 + rows), slice(col0, col0 + cols)
        return area, everything if full_frame else image
    size = image[0].stop - image[0].start, image[1].stop - image[1].start
    if shape != size:
        raise InputError(
            f"{_name(product)}: has {shape[0]} x {shape[1]} pixels, the camera's frames "
            f"{whole[0]} x {whole[1]}, their image region {size[0]} x {size[1]}; give the camera"
        )
    if full_frame:
        raise InputError(
            f"{_name(product)}: covers the image region only, so no map of the whole frame can be "
            "made of it"
        )
    return everything, everything


def neighbourhood(values: Array, errors: Array, good: Array, window: int) -> Neighbourhood:
    """Describe what pixels around each pixel are like, by medians.

    Parameters
    ----------
    values, errors : ndarray, shape (rows, columns)
        Pixels and their errors.
    good : ndarray of bool, shape (rows, columns)
        Which pixels count.
    window : int
        Side of the windows; they lie half of that apart. Medians of windows are interpolated
        linearly between their middles, and constant beyond the outermost.

    Returns
    -------
    Neighbourhood

    Raises
    ------
    InputError
        No window has enough good pixels.
    """
    starts = [_starts(length, window) for length in values.shape]
    nodes = np.full((3, len(starts[0]), len(starts[1])), np.nan)
    for i, row in enumerate(starts[0]):
        for j, col in enumerate(starts[1]):
            part = slice(row, row + window), slice(col, col + window)
            inside = good[part]
            if np.count_nonzero(inside) >= ENOUGH:
                x = values[part][inside]
                middle = np.median(x)
                nodes[:, i, j] = middle, _scatter(x, middle), np.median(errors[part][inside])
    if np.isnan(nodes).all():
        raise InputError(f"no window of {window} pixels has {ENOUGH} good ones; nothing to judge")
    spread = [
        _interpolation(length, window, where)
        for length, where in zip(values.shape, starts, strict=True)
    ]
    # Windows without enough good pixels take the median of the others.
    filled = (np.where(np.isnan(plane), np.nanmedian(plane), plane) for plane in nodes)
    return Neighbourhood(*(spread[0] @ plane @ spread[1].T for plane in filled))


def _starts(length: int, window: int) -> list[int]:
    """First pixels of windows half a window apart or less, from end to end."""
    count = 1 + max(0, int(np.ceil((length - window) / (window / 2))))
    return [int(start) for start in np.linspace(0, max(length - window, 0), count).round()]


def _interpolation(length: int, window: int, starts: list[int]) -> Array:
    """Matrix (length, windows) that interpolates between the middles of windows."""
    middles = np.array(starts) + (min(window, length) - 1) / 2
    pixels = np.arange(length)
    return np.column_stack([np.interp(pixels, middles, unit) for unit in np.eye(len(starts))])


def _check_clipping(values: Array, name: str) -> None:
    """Refuse values most of which became 0, so that their median says nothing."""
    share = float((values == 0).mean()) if values.size and values.min() == 0 else 0.0
    if share > 0.5:
        raise InputError(
            f"{name}: {share:.0%} of the dark current was negative and became 0, so what ordinary "
            "pixels are like is not known; the values before that (HDU SIGNED) are missing: make "
            "the maps with emdarks noisemaps"
        )


def _scatter(values: Array, middle: float) -> float:
    """Scatter about the median; that of the upper half where negative values became 0."""
    clipped = values.min() == 0 < middle
    deviations = values[values >= middle] - middle if clipped else np.abs(values - middle)
    return 1.4826 * float(np.median(deviations))


def _judge(
    judged: _Judged, area: Section, sigmas: float, warm: float, window: int, name: str
) -> _Verdict:
    known = np.isfinite(judged.values) & np.isfinite(judged.errors)
    flags = np.where(known, judged.dq, judged.dq | judged.dq.dtype.type(DQ.BAD_UNSPECIFIED))
    verdict = _Verdict(flags, *(np.full(flags.shape, np.nan, np.float32) for _ in range(2)))
    x, e, known = judged.values[area], judged.errors[area], known[area]
    good = known & (judged.dq[area] == 0)
    if judged.has_ratio:
        _check_clipping(x[good], name)
    around, sigma, limit = standing_out(
        x, np.where(known, e, np.nan), good, sigmas, window, judged.step
    )
    stands_out = x > limit
    with np.errstate(divide="ignore", invalid="ignore"):
        verdict.sigmas[area] = (x - around.median) / sigma
        ratio = np.where(known & (around.median > 0), x / around.median, np.nan)
    if judged.has_ratio:
        # Where the median is not positive, whatever stands out is far above it.
        stands_out &= ~(ratio < warm)
        verdict.ratio[area] = ratio
    verdict.flags[area][stands_out] |= flags.dtype.type(DQ.HOT)
    return verdict


def standing_out(
    values: Array, errors: Array, good: Array, sigmas: float, window: int, step: float
) -> StandingOut:
    """From which value on each pixel stands out of its neighbourhood.

    Parameters
    ----------
    values, errors, good, window
        As in `neighbourhood`; errors are NaN where pixels are not known.
    sigmas : float
        k of the formula in `emdarks.bad_pixels`.
    step : float
        What one average electron does to a value.

    Returns
    -------
    StandingOut
    """
    around = neighbourhood(values, errors, good, window)
    excess = np.where(np.isnan(errors), np.nan, values - around.median)
    sigma = _sigma(excess, errors, around, step)
    return StandingOut(around, sigma, around.median + sigmas * sigma + HOT_JUMP * step)


def _sigma(excess: Array, errors: Array, around: Neighbourhood, step: float) -> Array:
    """How far a pixel may lie off its neighbours if it were ordinary."""
    own = np.maximum(
        errors**2 - 2.0 * step * np.maximum(excess, 0.0), np.minimum(errors, around.error) ** 2
    )
    sigma: Array = np.sqrt(np.maximum(around.scatter**2 - around.error**2, 0.0) + own)
    return sigma


def _product(
    product: Any, verdict: _Verdict, thresholds: dict[str, tuple[Any, str]], hot: float | None
) -> BadPixelMap:
    pri, ext = product.pri_hdr.copy(), product.ext_hdr.copy()
    for header in (pri, ext):
        drop_map_cards(header)
    for keyword in (*_OF_DARKS, *(f"FRMSEL0{i}" for i in range(1, 7))):
        ext.remove(keyword, ignore_missing=True)
    _write_numbers(ext, verdict, hot)
    for keyword, card in thresholds.items():
        ext[keyword] = card
    ext["DARKFILE"] = _name(product)  # a comment may not fit beside the name of a file
    stamp(ext)
    highest = int(verdict.flags.max(initial=0))
    dtype = np.uint16 if highest < 1 << 16 else verdict.flags.dtype
    hdus = [image_hdu(verdict.sigmas, name="SIGMAS")]
    hdus[0].header["CONTENT"] = "excess over the neighbourhood, in sigmas"
    if hot is not None:
        hdus.append(image_hdu(verdict.ratio, name="RATIO"))
        hdus[1].header["CONTENT"] = "dark current over the local median"
    parents = None if "DRPNFILE" in ext else [product]
    made = BadPixelMap(verdict.flags.astype(dtype), pri, ext, parents, None, None, None, None, hdus)
    made.ext_hdr["HISTORY"] = (
        f"Hot pixels of {_name(product)}: see BPSIGMA"
        if hot is None
        else f"Hot and warm pixels of {_name(product)}: see BPSIGMA, BPWARM, BPHOT"
    )
    made.named_after(getattr(product, "filename", ""))
    return made


def _write_numbers(header: fits.Header, verdict: _Verdict, hot: float | None) -> None:
    bright = (verdict.flags & int(DQ.HOT)) != 0
    warm = bright & (verdict.ratio < hot) if hot is not None else np.zeros_like(bright)
    header["NBADPIX"] = (int(np.count_nonzero(verdict.flags)), "pixels with any flag")
    header["NHOT"] = (int(np.count_nonzero(bright & ~warm)), "hot pixels, flag 8")
    header["NWARM"] = (int(np.count_nonzero(warm)), "warm pixels, flag 8")


def hot_pixel_table(
    bad: BadPixelMap,
    maps_or_dark: Any,
    *,
    use_signed: bool = True,
    camera: str | Camera | None = None,
    detector_regions: Regions | None = None,
) -> Any:
    """List the hot and warm pixels of a bad-pixel map.

    Parameters
    ----------
    bad : BadPixelMap
        What `build_bad_pixel_map` has made.
    maps_or_dark : DetectorNoiseMaps, Dark, an object like one, or the path of a file
        What it was made of.
    use_signed, camera, detector_regions
        As `build_bad_pixel_map` was given them.

    Returns
    -------
    astropy.table.Table
        A row for each pixel, by row and column: ``row`` and ``col`` in the array of the map,
        from 0; the same as ``x`` and ``y`` of its image, from 1, as DS9 counts; ``kind``, hot
        or warm; dark current ``D`` and its error ``D_err`` (``dark`` and ``dark_err`` of a
        dark); ``sigmas`` above the neighbourhood; ``ratio`` to it, for noise maps; ``flags``.

    Raises
    ------
    InputError
        The map is not one of this product.
    """
    from astropy.table import Table

    if isinstance(maps_or_dark, (str, os.PathLike)):
        maps_or_dark = load_product(maps_or_dark)
    chosen = camera_of_product(maps_or_dark, camera) or load_camera(BUILTIN[0])
    chosen = chosen.fitted_to(np.shape(maps_or_dark.data)[-2:])
    regions = chosen.regions if detector_regions is None else detector_regions
    judged = _judged(maps_or_dark, use_signed)
    shape = np.shape(bad.data)
    _, section = _areas(
        judged, maps_or_dark, chosen.arrtype, regions, shape == judged.values.shape
        and shape == frame_shape(chosen.arrtype, regions),
    )  # fmt: skip
    values, errors = judged.values[section], judged.errors[section]
    if values.shape != shape:
        raise InputError(
            f"{_name(bad)}: has {shape[0]} x {shape[1]} pixels, {_name(maps_or_dark)} "
            f"{values.shape[0]} x {values.shape[1]}; it was not made of this"
        )
    rows, cols = np.nonzero(_unsigned(np.asarray(bad.data)) & int(DQ.HOT))
    name, unit = ("D", "electron / s") if judged.has_ratio else ("dark", "electron")
    columns: dict[str, Array] = {
        "row": rows,
        "col": cols,
        "x": cols + 1,
        "y": rows + 1,
        "kind": _kinds(bad, rows, cols),
        name: values[rows, cols],
        f"{name}_err": errors[rows, cols],
        "sigmas": np.asarray(bad.hdu_list["SIGMAS"].data)[rows, cols],
    }
    if judged.has_ratio:
        columns["ratio"] = np.asarray(bad.hdu_list["RATIO"].data)[rows, cols]
    columns["flags"] = np.asarray(bad.data)[rows, cols]
    return Table(columns, units={name: unit, f"{name}_err": unit}, meta={"of": _name(bad)})


def _kinds(bad: BadPixelMap, rows: Array, cols: Array) -> Array:
    """Hot or warm, pixel by pixel."""
    if "RATIO" not in bad.hdu_names:
        return np.full(rows.shape, "hot", dtype="U4")
    ratio = np.asarray(bad.hdu_list["RATIO"].data)[rows, cols]
    return np.where(ratio < bad.ext_hdr["BPHOT"], "warm", "hot")


def ds9_regions(bad: BadPixelMap) -> str:
    """Hot and warm pixels as regions for DS9: a box around each pixel.

    Parameters
    ----------
    bad : BadPixelMap
        The map.

    Returns
    -------
    str
        A region file in image coordinates: the first pixel of the map is (1, 1), x counts
        columns, y rows. Hot pixels are red, warm ones orange.
    """
    rows, cols = np.nonzero(_unsigned(np.asarray(bad.data)) & int(DQ.HOT))
    lines = [
        "# Region file format: DS9 version 4.1",
        f"# hot (red) and warm (orange) pixels of {_name(bad)}",
        "image",
    ]
    for row, col, kind in zip(rows, cols, _kinds(bad, rows, cols), strict=True):
        colour = "red" if kind == "hot" else "orange"
        lines.append(f"box({col + 1},{row + 1},1,1,0) # color={colour} tag={{{kind}}}")
    return "\n".join(lines) + "\n"
