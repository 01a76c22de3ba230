"""From the numbers of a fit to the product: planes, headers, tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from emdarks.cameras import HeaderRules
from emdarks.fits import astropy_fits as fits
from emdarks.fits import image_hdu, table_hdu
from emdarks.frames import FrameInput
from emdarks.products.header import NOT_SUPPLIED, merge_headers, stamp
from emdarks.products.noise_maps import FORMAT_VERSION, DetectorNoiseMaps, clip_planes
from emdarks.products.provenance import input_names, inputs_hdu, name_inputs

__all__ = ["MapsContent", "StackRow", "noise_maps"]

Array = npt.NDArray[Any]


class _Fit(Protocol):
    """Planes of a fit, flat in pixels; see `emdarks.fit.least_squares.Fit`."""

    values: Array
    errors: Array
    correlations: Array
    chi2: Array
    r_squared: Array
    stacks_used: Array
    dq: Array


@dataclass(frozen=True, slots=True)
class StackRow:
    """One row of the table ``STACKS``."""

    gain: float
    commanded_gain: float
    exposure_time: float
    k_gain: float
    frames: int
    mean_good: float
    variance: float
    residual: float
    read_noise: float
    excess: float
    gain_derivatives: tuple[float, ...] = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class MapsContent:
    """All that a product of noise maps says.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns.
    fit : Fit
        Planes, D already 0 outside the imaging area.
    unreliable : ndarray of int, shape (pixels,)
        Stacks in which more than half of the frames are masked.
    rejected : ndarray of int, shape (pixels,), or None
        Samples that screening took out.
    offset, statistics : BiasOffset, ImageStatistics
        Scalars for the header.
    stacks : list of StackRow
        The stacks.
    stack_of_input : list of int
        Index of each input frame's stack.
    """

    shape: tuple[int, int]
    fit: Any
    unreliable: Array
    rejected: Array | None
    offset: Any
    statistics: Any
    stacks: list[StackRow]
    stack_of_input: list[int]


def noise_maps(
    content: MapsContent,
    inputs: Sequence[FrameInput],
    rules: HeaderRules,
    choices: dict[str, tuple[Any, str]],
) -> DetectorNoiseMaps:
    """Make the product.

    Parameters
    ----------
    content : MapsContent
        Numbers.
    inputs : sequence of FrameInput
        Frames, in input order.
    rules : HeaderRules
        How their headers merge.
    choices : dict
        Cards that record the options, ``NONNEG`` among them: value and comment.
    """
    invalid = (set(rules.invalid) | set(rules.invalid_in_maps)) - (
        set(rules.kept_in_darks) - set(rules.invalid_in_maps)
    )
    headers = merge_headers(inputs, rules, invalid)
    ext = headers["ext"]
    for keyword in rules.invalid_in_maps:
        if keyword not in ext:
            continue
        ext[keyword] = int(NOT_SUPPLIED) if keyword == "HVCBIAS" else NOT_SUPPLIED
    name_inputs(ext, input_names(inputs), len(inputs), len(inputs))
    _write_numbers(ext, content)
    for keyword, card in {**choices, "FMTVERS": (FORMAT_VERSION, "version of this format")}.items():
        ext[keyword] = card
    stamp(ext)

    shape = (3, *content.shape)
    signed = content.fit.values.reshape(shape)
    nonnegative = tuple(choices["NONNEG"][0].split(","))
    dq = np.repeat(content.fit.dq.reshape(1, *content.shape), 3, axis=0)
    maps = DetectorNoiseMaps(
        clip_planes(signed, nonnegative),
        headers["pri"],
        ext,
        None,
        content.fit.errors.reshape(1, *shape),
        dq,
        headers["err"],
        headers["dq"],
        _further_hdus(content, inputs, signed),
    )
    maps.ext_hdr["HISTORY"] = _history(content.stacks)
    maps.named_after(inputs[-1].provenance.name)
    return maps


def _number(value: float) -> float:
    """FITS headers hold no NaN."""
    return float(value) if math.isfinite(value) else NOT_SUPPLIED


def _write_numbers(ext: fits.Header, content: MapsContent) -> None:
    offset, statistics = content.offset, content.statistics
    means, variances = statistics.means, statistics.variances
    cards = {
        "B_O": (offset.value, "DN, bias offset"),
        "B_O_ERR": (offset.error, "error of the DN, bias offset"),
        "B_O_UP": (offset.upper, "upper bound of the DN, bias offset"),
        "B_O_LO": (offset.lower, "lower bound of the DN, bias offset"),
        "FPN_IMM": (means[0], "e-, mean of F, imaging area; -999: none"),
        "CIC_IMM": (means[1], "e-, mean of C, imaging area; -999: none"),
        "DC_IMM": (means[2], "e-/s, mean of D, imaging area; -999: none"),
        "FPN_IMME": (statistics.median_f, "e-, median of F, imaging area; -999: none"),
        "FPN_VAR": (variances[0], "variance of F, e-^2"),
        "CIC_VAR": (variances[1], "variance of C, e-^2"),
        "DC_VAR": (variances[2], "variance of D, (e-/s)^2"),
        "RN_EST": (statistics.read_noise, "e-, rough read noise; -999: none"),
    }
    for keyword, (value, comment) in cards.items():
        ext[keyword] = (_number(value), comment)
    ext["B_O_UNIT"] = "DN"


def _further_hdus(content: MapsContent, inputs: Sequence[FrameInput], signed: Array) -> list[Any]:
    fit, plane = content.fit, content.shape
    images = {
        "SIGNED": (signed, "F (e-), C (e-), D (e-/s) before clipping"),
        "CORR": (fit.correlations.reshape(3, *plane), "correlations F-C, F-D, C-D"),
        "CHI2": (fit.chi2.reshape(plane), "reduced chi-square"),
        "RSQ": (fit.r_squared.reshape(plane), "adjusted R-squared"),
        "NSTACKS": (fit.stacks_used.reshape(plane), "stacks used"),
        "NBAD": (content.unreliable.reshape(plane), "stacks with over half the frames masked"),
    }
    if content.rejected is not None:
        images["REJECTED"] = (content.rejected.reshape(plane), "samples screened out, all stacks")
    hdus = []
    for name, (data, meaning) in images.items():
        hdu = image_hdu(data, name=name)
        hdu.header["CONTENT"] = meaning
        hdus.append(hdu)
    return [*hdus, _stacks_hdu(content.stacks), inputs_hdu(inputs, content.stack_of_input)]


def _stacks_hdu(rows: Sequence[StackRow]) -> Any:
    columns = {
        "EMGAIN": ("gain", ""),
        "EMGAIN_C": ("commanded_gain", ""),
        "EXPTIME": ("exposure_time", "s"),
        "KGAINPAR": ("k_gain", "electron/adu"),
        "FRAMES": ("frames", ""),
        "GOOD": ("mean_good", ""),
        "VARIANCE": ("variance", "electron2"),
        "RESIDUAL": ("residual", "electron"),
        "READNOIS": ("read_noise", "electron"),
        "EXCESS": ("excess", ""),
    }
    table: dict[str, tuple[Any, str]] = {
        name: ([getattr(row, field) for row in rows], unit)
        for name, (field, unit) in columns.items()
    }
    # How the image means of F, C and D move per unit of relative error of a stack's gain.
    for k, (name, unit) in enumerate(
        (("DFPN_DG", "electron"), ("DCIC_DG", "electron"), ("DDC_DG", "electron/s"))
    ):
        table[name] = ([row.gain_derivatives[k] for row in rows], unit)
    return table_hdu("STACKS", table)


def _history(rows: Sequence[StackRow]) -> str:
    stacks = [[float(row.exposure_time), float(row.gain), row.mean_good] for row in rows]
    return (
        "Noise maps were fitted to these stacks, each as exposure time (s), EM gain and "
        f"mean number of good frames: {stacks}"
    )
