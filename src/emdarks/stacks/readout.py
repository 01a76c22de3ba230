"""Frames and products of different readout settings, which must not be used together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from emdarks.cameras import Camera
from emdarks.errors import EmdarksWarning, InputError
from emdarks.fitsio import Header
from emdarks.frames import FrameInput
from emdarks.stacks.group import Stack

__all__ = ["bias_history", "check_frames", "check_product", "readout_cards", "readout_text"]

Setting = tuple[tuple[str, str], ...]

#: Card in which products keep the readout setting of their frames.
_KEYWORD = "READOUT"


def check_frames(stacks: Sequence[Stack]) -> None:
    """Refuse frames that are no darks, and frames of different readout settings.

    Raises
    ------
    InputError
        Names a frame, or the setting and a frame of each of its values.
    """
    _refuse_others([item for stack in stacks for item in stack.frames])
    for first, stack in pairwise(stacks):
        for (name, value), (_, other) in zip(first.setting, stack.setting, strict=True):
            if value != other:
                raise InputError(
                    f"{stack.frames[0].record.name}: {name} is {other}, but {value} in "
                    f"{first.frames[0].record.name}; frames of different readout settings have "
                    "different noise: give those of one setting"
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


def readout_text(setting: Setting) -> str:
    """The setting as products keep it."""
    return "; ".join(f"{name}={value}" for name, value in setting)


def readout_cards(setting: Setting) -> dict[str, str]:
    """Card of a product that says the readout setting; none where a camera has no settings."""
    # Without a comment: the text may be longer than a card, and comments are cut off then.
    return {_KEYWORD: readout_text(setting)} if setting else {}


def check_product(header: Header, product: str, stack: Stack) -> None:
    """Compare the readout setting of a product with that of frames it is to be used for.

    Parameters
    ----------
    header : Header
        Of the product.
    product : str
        Its name, for messages.
    stack : Stack
        The frames.

    Raises
    ------
    InputError
        The settings differ.

    Warns
    -----
    EmdarksWarning
        The frames have settings and the product says nothing of its own.
    """
    if not stack.setting:
        return
    frame, mine = stack.frames[0].record.name, readout_text(stack.setting)
    theirs: Any = header.get(_KEYWORD)
    if theirs is None:
        warnings.warn(
            f"{product}: does not say the readout setting of its frames; that of {frame} is {mine}",
            EmdarksWarning,
            stacklevel=3,
        )
    elif theirs != mine:
        known = set(str(theirs).split("; "))
        differing = ", ".join(word for word in mine.split("; ") if word not in known)
        raise InputError(
            f"{frame}: has {differing or mine}, but {product} is made of frames with {theirs}; "
            "use a product of the same readout setting"
        )


def bias_history(stack: Stack, camera: Camera) -> list[str]:
    """What was subtracted from the frames of a product, and what was not, for its history.

    Nothing is said of frames that come with their bias subtracted.
    """
    record, bias = stack.frames[0].record, camera.bias
    if bias is not None and record.in_dn and bias.region is not None:
        return [f"The {bias.statistic} of the region {bias.region} was subtracted from each row"]
    if bias is not None and record.in_dn and bias.file is not None:
        return [f"The bias frame {Path(bias.file).name} was subtracted from every frame"]
    if record.bias:
        return [f"A bias level of {record.bias:g} DN was subtracted from every pixel"]
    if not camera.frames.err_and_dq:
        return ["No bias level was subtracted: what the frames hold of it is in this product"]
    return []
