"""What emdarks knows of a camera: geometry, keyword names, units, noise figures.

A `Camera` is data. One function, `read_record`, turns the headers of a frame into one
small `FrameRecord` by it; keyword names stand nowhere else. ``schema`` has the tables of a
camera file, ``units`` what single values mean, ``header_reader`` reads headers by them.
"""

from emdarks.cameras.camera import Camera
from emdarks.cameras.frame_metadata import Counted, FrameRecord, Unit
from emdarks.cameras.header_reader import (
    Explained,
    explain,
    read_record,
    read_settings,
    read_temperature,
    why_no_dark,
)
from emdarks.cameras.load import BUILTIN, camera_of_product, camera_text, load_camera
from emdarks.cameras.schema import (
    Bias,
    ConventionalRule,
    CosmicRays,
    Counting,
    FrameFiles,
    HeaderRules,
    Keywords,
    Linearity,
    Mode,
    NoiseFigures,
    RawFrames,
    Rule,
    Simulation,
)
from emdarks.cameras.units import Value

__all__ = [
    "BUILTIN",
    "Bias",
    "Camera",
    "ConventionalRule",
    "CosmicRays",
    "Counted",
    "Counting",
    "Explained",
    "FrameFiles",
    "FrameRecord",
    "HeaderRules",
    "Keywords",
    "Linearity",
    "Mode",
    "NoiseFigures",
    "RawFrames",
    "Rule",
    "Simulation",
    "Unit",
    "Value",
    "camera_of_product",
    "camera_text",
    "explain",
    "load_camera",
    "read_record",
    "read_settings",
    "read_temperature",
    "why_no_dark",
]
