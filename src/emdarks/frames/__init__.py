"""Frames: headers first, pixels when they are streamed.

`image` and `dataset` are what users hold; `frame_input` turns either, and foreign objects like
them, into what the stream takes; `prepared` makes frames of level 2a of raw ones while they are
read; `bias` takes the bias off frames of cameras that leave it inside.
"""

from emdarks.frames.bad_frames import BadFrame
from emdarks.frames.dataset import Dataset
from emdarks.frames.discover import (
    first_file,
    frames_where,
    reads_extensions,
    select_frames,
    select_products,
)
from emdarks.frames.flagging import flagging_level
from emdarks.frames.frame_input import (
    FrameInput,
    Provenance,
    camera_named_in,
    frame_inputs,
    frame_sources,
    frames_of,
)
from emdarks.frames.image import Image
from emdarks.frames.prepared import PreparedImage, prepare_frames, raw_frames_in
from emdarks.frames.raw_settings import k_gain_of

__all__ = [
    "BadFrame",
    "Dataset",
    "FrameInput",
    "Image",
    "PreparedImage",
    "Provenance",
    "camera_named_in",
    "first_file",
    "flagging_level",
    "frame_inputs",
    "frame_sources",
    "frames_of",
    "frames_where",
    "k_gain_of",
    "prepare_frames",
    "raw_frames_in",
    "reads_extensions",
    "select_frames",
    "select_products",
]
