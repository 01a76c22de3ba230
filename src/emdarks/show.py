"""What frames and products look like: in a notebook, and as plots.

Called through the methods of `emdarks.frames.display`; users need not import it.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks import plots
from emdarks.cameras import load_camera, read_record
from emdarks.errors import EmdarksError, InputError
from emdarks.frames import Dataset, Image, camera_named_in
from emdarks.products import BadPixelMap, Dark, DetectorNoiseMaps, DetectorParams
from emdarks.products.header import NOT_SUPPLIED
from emdarks.products.model import absent_planes

__all__ = ["html", "plot", "plot_histogram"]

Array = npt.NDArray[Any]
Rows = list[tuple[str, str]]

#: Most stacks that the table of a dataset lists.
MOST_STACKS = 20

_MAPS = (
    ("fixed-pattern noise F", "EM electrons"),
    ("clock-induced charge C", "electrons per frame"),
    ("dark current D", "electrons per second"),
)
_MEANS = ("FPN_IMM", "CIC_IMM", "DC_IMM")


# Plots


def plot(image: Image, ax: Any, flagged: bool) -> Any:
    """See `Plotted.plot`."""
    if isinstance(image, DetectorNoiseMaps):
        axes = _three(ax)
        for i, name, unit in _present(image, axes):
            values = _values(image.data[i], image.dq[i], flagged)
            plots.show_map(values, name, unit, both_signs=i == 0, ax=axes[i])
        return axes
    if isinstance(image, BadPixelMap):
        return plots.show_map(image.bad, image.filename, "1: bad", limits=(0.0, 1.0), ax=ax)
    return plots.show_map(_plane(image, flagged), _title(image), _unit(image), ax=ax)


def plot_histogram(image: Image, ax: Any, bins: int, flagged: bool) -> Any:
    """See `Plotted.plot_histogram`."""
    if isinstance(image, DetectorNoiseMaps):
        axes = _three(ax)
        for i, name, unit in _present(image, axes):
            values = _values(image.data[i], image.dq[i], flagged)
            plots.value_histogram(values, name, unit, bins=bins, ax=axes[i])
        return axes
    values = _plane(image, flagged)
    return plots.value_histogram(values, _title(image), _unit(image), bins=bins, ax=ax)


def _present(maps: DetectorNoiseMaps, axes: Any = None) -> list[tuple[int, str, str]]:
    """Index, name and unit of each map that there is; the axes of one that is not are empty."""
    absent = absent_planes(maps.ext_hdr)
    named = list(_MAPS)
    if absent[1]:
        named[0] = ("level L = F + g C", "EM electrons")
    if absent[2]:
        named[1] = ("charge C + t D", "electrons per frame")
    if axes is not None:
        for i in np.flatnonzero(absent):
            axes[i].set_axis_off()
    return [(i, *words) for i, words in enumerate(named) if not absent[i]]


def _three(axes: Any) -> Array:
    """Three axes: those given, or new ones side by side."""
    if axes is None:
        return np.asarray(plots.new_figure(12.3, 3.6).subplots(1, 3))
    given = np.asarray(axes, dtype=object).reshape(-1)
    if given.size != 3:
        raise InputError(f"noise maps are three maps: give three axes, not {given.size}")
    return given


def _values(data: Array, dq: Array, flagged: bool) -> Array:
    return data if flagged else np.where(dq == 0, data, np.nan)


def _plane(image: Image, flagged: bool) -> Array:
    if len(image.shape) != 2:
        raise InputError(
            f"{image.filename or 'the image'}: has pixels of shape {image.shape}; a map has rows "
            "and columns"
        )
    return _values(image.data, image.dq, flagged)


def _unit(image: Image) -> str:
    return str(image.ext_hdr.get("BUNIT", ""))


def _title(image: Image) -> str:
    if isinstance(image, Dark):
        return f"dark, {', '.join(image._facts())}"
    return image.filename


# Notebooks


def html(thing: Any) -> str:
    """A small table and pictures, as HTML."""
    rows = _rows(thing)
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(value)}</td></tr>"
        for name, value in rows
    )
    pictures = "".join(_figure(name, png) for name, png in _pictures(thing))
    return (
        f"<div><b>{escape(type(thing).__name__)}</b>"
        "<div style='display:flex;gap:1em;align-items:flex-start'>"
        f"<table>{cells}</table>{pictures}</div></div>"
    )


def _figure(name: str, png: bytes) -> str:
    code = base64.b64encode(png).decode("ascii")
    return (
        f"<figure style='margin:0'><img alt='{escape(name)}' "
        "style='min-width:150px;image-rendering:pixelated' "
        f"src='data:image/png;base64,{code}'>"
        f"<figcaption>{escape(name)}</figcaption></figure>"
    )


def _pictures(thing: Any) -> Iterable[tuple[str, bytes]]:
    """Names and PNG files; none where pixels cannot be had."""
    try:
        return list(_drawn(thing))
    except EmdarksError:
        return []  # the file is gone: what is known of it is worth showing all the same


def _drawn(thing: Any) -> Iterable[tuple[str, bytes]]:
    if isinstance(thing, DetectorParams):
        return
    if isinstance(thing, DetectorNoiseMaps):
        for i, name, _ in _present(thing):
            yield name, plots.thumbnail(thing.data[i], both_signs=i == 0)
    elif isinstance(thing, Dataset):
        first = thing[0]
        if len(np.shape(first.data)) == 2:
            yield "the first frame", plots.thumbnail(first.data)
    elif isinstance(thing, BadPixelMap):
        yield "bad pixels", plots.thumbnail(thing.bad)
    elif len(thing.shape) == 2:
        yield "pixels", plots.thumbnail(thing.data)


def _rows(thing: Any) -> Rows:
    if isinstance(thing, Dataset):
        return _of_dataset(thing)
    rows = [("file", thing.filename or "(unnamed)")]
    if isinstance(thing, DetectorParams):
        return [*rows, *((key, str(value)) for key, value in thing.params.items())]
    rows.append(("shape", _size(thing.shape)))
    if isinstance(thing, DetectorNoiseMaps):
        return [*rows, *_of_maps(thing)]
    if isinstance(thing, BadPixelMap):
        return [*rows, ("bad pixels", str(np.count_nonzero(thing.bad)))]
    return [*rows, *_of_image(thing)]


def _size(shape: Sequence[int]) -> str:
    return " x ".join(str(length) for length in shape)


def _of_image(image: Image) -> Rows:
    known = (("unit", "BUNIT"), ("exposure time, s", "EXPTIME"), ("EM gain", "EMGAIN_C"))
    rows = [(name, str(image.ext_hdr[key])) for name, key in known if key in image.ext_hdr]
    if isinstance(image, Dark):
        rows.append(("kind", image._facts()[-1]))
    try:
        data, dq = image.data, image.dq
    except EmdarksError as error:
        return [*rows, ("pixels", str(error))]
    good = data[(dq == 0) & np.isfinite(data)]
    if good.size:
        rows.append(("median", f"{np.median(good):.4g}"))
    rows.append(("flagged", f"{np.count_nonzero(dq) / max(dq.size, 1):.2%}"))
    return rows


def _of_maps(maps: DetectorNoiseMaps) -> Rows:
    rows = []
    for i, name, unit in _present(maps):
        # Where there is no dark current by definition, its error is 0.
        errors = maps.err[0, i][maps.err[0, i] > 0]
        error = float(np.median(errors)) if errors.size else float("nan")
        mean = maps.ext_hdr[_MEANS[i]]
        known = "not known" if mean == NOT_SUPPLIED else f"{mean:.4g}"
        rows.append((f"{name}, {unit}", f"image mean {known}, error of a pixel {error:.2g}"))
    rows.append(("bias offset, DN", f"{maps.bias_offset:.4g}"))
    if "STACKS" in maps.hdu_names:
        rows.append(("stacks", str(len(maps.hdu_list["STACKS"].data))))
    counts = (("frames", "NFRAMES"), ("input files", "DRPNFILE"))
    return rows + [(name, str(maps.ext_hdr[key])) for name, key in counts if key in maps.ext_hdr]


def _of_dataset(dataset: Dataset) -> Rows:
    rows = [("frames", str(len(dataset)))]
    try:
        counts = _settings(dataset)
    except EmdarksError as error:
        return [*rows, ("headers", str(error))]
    rows.append(("shape", " or ".join(sorted({_size(key[0]) for key in counts}))))
    listed = sorted(counts.items(), key=lambda item: item[0][1:])
    for (_, time, gain, k_gain), count in listed[:MOST_STACKS]:
        rows.append((f"EM gain {gain:g}, {time:g} s, k-gain {k_gain:g}", f"{count} frames"))
    if len(listed) > MOST_STACKS:
        rows.append(("and more", f"{len(listed) - MOST_STACKS} settings"))
    return rows


def _settings(dataset: Dataset) -> Counter[Any]:
    """Numbers of frames by shape, time, gain and k-gain; reads headers only."""
    camera = load_camera(camera_named_in(dataset))
    counts: Counter[Any] = Counter()
    for frame in dataset:
        own = isinstance(frame, Image)
        ext = frame.cards("ext") if own else frame.ext_hdr
        pri = frame.cards("pri") if own else frame.pri_hdr
        shape = frame.shape if own else np.shape(frame.data)
        name = getattr(frame, "filename", "") or "a frame"
        record = read_record(camera, name, shape, (ext, pri))
        key = record.shape, record.exposure_time, record.commanded_gain, record.k_gain
        counts[key] += 1
    return counts
