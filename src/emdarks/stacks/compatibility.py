"""Frames and products of different readout settings, which must not be used together."""

from __future__ import annotations

import hashlib
import math
import shlex
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from emdarks.cameras import Camera, FrameRecord
from emdarks.cameras.units import same
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fits import ascii_text, unpacked
from emdarks.frames import FrameInput
from emdarks.frames.bias import bias_frame
from emdarks.frames.frame_input import is_raw, level_of
from emdarks.stacks.group import Stack

Setting = tuple[tuple[str, str], ...]

#: Unit of frames whose dark was subtracted, as the Coronagraph's pipeline spells it.
SUBTRACTED_UNIT = "photoelectron"

#: Cards in which products keep the readout setting of their frames, their bias, their k-gain.
_READOUT, _BIAS, _K_GAIN = "READOUT", "BIASSUB", "KGAINUSE"
#: Card with the processing level of the frames of a product.
_LEVEL = "FRAMELVL"
#: What the latter holds where there were several.
_SEVERAL = -999.0
#: Relative difference up to which k-gains count as the same.
SAME_K_GAIN = 1e-6


def check_frames(stacks: Sequence[Stack]) -> None:
    """Refuse frames that are no darks or have none left, and different readout settings.

    Raises
    ------
    InputError
        Names a frame, or the setting and a frame of each of its values.
    """
    frames = [item for stack in stacks for item in stack.frames]
    _refuse_others(frames)
    # Photoelectrons alone are no sign here: master darks take them as they are.
    refuse_subtracted(frames, by_unit=False)
    for first, stack in pairwise(stacks):
        for (name, value), (_, other) in zip(first.setting, stack.setting, strict=True):
            if value != other:
                raise InputError(
                    f"{stack.frames[0].record.name}: {name} is {other}, but {value} in "
                    f"{first.frames[0].record.name}; frames of different readout settings have "
                    "different noise: give those of one setting, for example by --where "
                    + shlex.quote(f"{name}={value if other == '-' else other}")
                )


def _refuse_others(frames: Sequence[FrameInput]) -> None:
    others = [item.record for item in frames if item.record.not_dark]
    if others:
        raise InputError(
            f"{others[0].name}: is no dark ({others[0].not_dark}), nor are {len(others) - 1} "
            f"others of {len(frames)} frames; give the darks only"
            if len(others) > 1
            else f"{others[0].name}: is no dark ({others[0].not_dark}); leave it out"
        )


def refuse_subtracted(frames: Sequence[FrameInput], by_unit: bool = True) -> None:
    """Refuse frames whose headers say that a dark was subtracted already.

    Parameters
    ----------
    frames : sequence of FrameInput
        The frames.
    by_unit : bool
        Whether the unit "photoelectron" says so, too, beside the card DARKFILE.

    Raises
    ------
    InputError
        Names the first, and says how many there are.
    """
    done = [item.record.name for item in frames if _was_subtracted(item, by_unit)]
    if done:
        raise InputError(
            f"{done[0]}: a dark was subtracted from it already (as from {len(done)} of "
            f"{len(frames)} frames); leave it out"
        )


def _was_subtracted(item: FrameInput, by_unit: bool) -> bool:
    in_photoelectrons = item.record.unit_text.lower().startswith(SUBTRACTED_UNIT)
    return (by_unit and in_photoelectrons) or "DARKFILE" in item.headers["ext"]


def readout_text(setting: Setting) -> str:
    """The setting as products keep it."""
    return "; ".join(f"{name}={value}" for name, value in setting)


def bias_text(stack: Stack, camera: Camera) -> str | None:
    """What reading subtracted from the frames of a stack; see `bias_of`."""
    return bias_of(stack.frames[0].record, camera)


def bias_of(record: FrameRecord, camera: Camera) -> str | None:
    """What reading subtracted from a frame: "nothing", a level, a frame, a region.

    None for frames that come with their bias subtracted, as those in electrons do: nobody
    knows what was subtracted from them.
    """
    bias = camera.bias
    if not record.in_dn:
        return None
    if bias is not None and bias.region is not None:
        return bias.of_region
    if bias is not None and bias.file is not None:
        return f"frame {Path(bias.file).name} ({_digest(bias.file, record.shape)})"
    if record.bias:
        return f"level {record.bias:g} DN"
    return None if camera.frames.err_and_dq else "nothing"


def _digest(path: str, shape: tuple[int, int]) -> str:
    """A few digits that tell bias frames of one name apart, by their pixels."""
    pixels = bias_frame(str(Path(path).absolute()), shape)
    return hashlib.sha256(pixels.astype("<f8", copy=False).tobytes()).hexdigest()[:8]


def product_cards(stack: Stack, camera: Camera) -> dict[str, str]:
    """Cards of a product that say how its frames were read; none where there is no choice."""
    # Without comments: texts may be longer than a card, and comments are cut off then.
    cards = {
        _READOUT: readout_text(stack.setting),
        _BIAS: bias_text(stack, camera) or "",
        _LEVEL: level_of(stack.frames[0].headers),
    }
    return {keyword: ascii_text(text) for keyword, text in cards.items() if text}


def bias_history(stack: Stack, camera: Camera) -> list[str]:
    """A line for the history of a product: what was subtracted, or what it holds instead."""
    text = bias_text(stack, camera)
    if text == "nothing":
        return ["No bias level was subtracted: what the frames hold of it is in this product"]
    return [ascii_text(f"Bias subtracted from every frame: {text}")] if text else []


def check_product(
    product: Any, name: str, stack: Stack, camera: Camera, k_gain: float | None = None
) -> None:
    """Compare how frames are read with how those of a product were.

    Parameters
    ----------
    product : Dark or DetectorNoiseMaps, or an object like one
        The product.
    name : str
        Its name, for messages.
    stack : Stack
        The frames.
    camera : Camera
        Reads them.
    k_gain : float, optional
        K-gain that overrides the headers' of the frames.

    Raises
    ------
    InputError
        Cameras or readout settings differ, or what is subtracted as bias, or the k-gain
        that numbers are multiplied by.

    Warns
    -----
    EmdarksWarning
        The frames have settings and the product says nothing of its own.
    """
    header, frame = product.ext_hdr, stack.frames[0].record.name
    mine = product_cards(stack, camera)
    _compare_cameras(header.get("CAMERA"), name, camera)
    if _READOUT in mine:
        _compare_settings(header.get(_READOUT), mine[_READOUT], frame, name)
    _compare_k_gains(product, name, stack, k_gain)
    _compare_levels(header.get(_LEVEL), name, mine.get(_LEVEL), frame)
    theirs = header.get(_BIAS)
    if _BIAS in mine and theirs is not None and theirs != mine[_BIAS]:
        raise InputError(
            f"{frame}: the bias subtracted is: {mine[_BIAS]}; from the frames of {name}: "
            f"{theirs}; read both with the same camera file"
        )


def _compare_levels(theirs: Any, product: str, mine: str | None, frame: str) -> None:
    """Refuse raw frames with a product of others, or others with one of raw frames."""
    if theirs is not None and mine is not None and is_raw(str(theirs)) != is_raw(mine):
        raise InputError(
            f"{product}: is made of frames of level {theirs}, {frame} is of level {mine}; raw "
            "frames and others do not go together: give a product of such frames"
        )


def _compare_cameras(theirs: Any, product: str, camera: Camera) -> None:
    if theirs is not None and theirs != ascii_text(camera.name):
        raise InputError(
            f"{product}: comes from camera {theirs!r}, the frames are read as those of "
            f"{camera.name!r}; give --camera (camera=) or another product"
        )


def k_gain_card(stacks: Sequence[Stack], k_gain: float | None) -> dict[str, tuple[float, str]]:
    """Card of a product with the k-gain that its frames were multiplied by.

    None where no frame is in DN; -999 where there were several.
    """
    used = {k_gain or stack.k_gain for stack in stacks if _counts_dn(stack)}
    if not used:
        return {}
    value = float(used.pop()) if len(used) == 1 else _SEVERAL
    return {_K_GAIN: (value, "e-/DN, used for frames; -999: see STACKS")}


def _counts_dn(stack: Stack) -> bool:
    return any(item.record.in_dn for item in stack.frames)


def k_gains_used(product: Any) -> tuple[float, ...]:
    """K-gains that the frames of a product were multiplied by; none where it does not say."""
    used = product.ext_hdr.get(_K_GAIN)
    if used is None or used != _SEVERAL:
        return () if used is None else (float(used),)
    hdus = getattr(product, "hdu_list", None) or ()
    table = next((unpacked(hdu) for hdu in hdus if hdu.name == "STACKS"), None)
    return () if table is None else tuple({float(value) for value in table.data["KGAINPAR"]})


def _compare_k_gains(product: Any, name: str, stack: Stack, k_gain: float | None) -> None:
    theirs, mine = k_gains_used(product), k_gain or stack.k_gain
    if not theirs or not _counts_dn(stack):
        return
    if not any(math.isclose(value, mine, rel_tol=SAME_K_GAIN) for value in theirs):
        known = " and ".join(f"{value:g}" for value in sorted(theirs))
        advice = (
            "give --kgain (kgain=)" if k_gain is None else "leave --kgain (kgain=) out, or give"
        )
        raise InputError(
            f"{name}: was made with k-gain {known}, {stack.frames[0].record.name} would be read "
            f"with {mine:g}; {advice} {known} here, too"
        )


def _compare_settings(theirs: Any, mine: str, frame: str, product: str) -> None:
    if theirs is None:
        warnings.warn(
            f"{product}: does not say the readout setting of its frames; that of {frame} is {mine}",
            EmdarksWarning,
            stacklevel=4,
        )
        return
    differing = differing_settings(str(theirs), mine)
    if differing is not None:
        raise InputError(
            f"{frame}: has {', '.join(differing) or mine}, but {product} is made of frames with "
            f"{theirs}; use a product of the same readout setting"
        )
    untold = untold_settings(str(theirs), mine)
    if untold:
        # A product from before the camera file had these settings.
        warnings.warn(
            f"{product}: does not say these readout settings of its frames; {frame} has "
            f"{', '.join(untold)}",
            EmdarksWarning,
            stacklevel=4,
        )


def differing_settings(theirs: str, mine: str) -> list[str] | None:
    """Readout settings of a frame that a product's are other than.

    Parameters
    ----------
    theirs, mine : str
        Those of the product and of the frame, as `readout_text` writes them.

    Returns
    -------
    list of str or None
        ``name=value`` of the frame, of each that differs: none where the product alone has one.
        None, no list, where they go together.
    """
    known, here = _settings_in(theirs), _settings_in(mine)
    differing = [word for word in mine.split("; ") if _differs(word, known)]
    gone = [name for name in known if name and name not in here]
    return differing if differing or gone else None


def untold_settings(theirs: str, mine: str) -> list[str]:
    """Readout settings of a frame, ``name=value`` each, that a product does not say its own of."""
    known = _settings_in(theirs)
    names = (word.partition("=")[0] for word in mine.split("; "))
    return [
        word
        for word, name in zip(mine.split("; "), names, strict=True)
        if name and name not in known
    ]


def _settings_in(text: Any) -> dict[str, str]:
    """Names and values of the settings that a product keeps."""
    words = (word.partition("=") for word in str(text).split("; "))
    return {name: value for name, _, value in words}


def _differs(word: str, known: dict[str, str]) -> bool:
    name, _, value = word.partition("=")
    return name in known and not same(known[name], value, tolerance=1e-3)
