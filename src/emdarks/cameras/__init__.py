"""What emdarks knows of a camera: geometry, keyword names, units, noise figures.

One function, `Camera.record`, turns the headers of a frame into one small
`FrameRecord`; keyword names stand nowhere else. ``parts`` has the tables of a camera
file, ``values`` what single values mean, ``reading`` reads headers by them.
"""

from emdarks.cameras.camera import Camera
from emdarks.cameras.frame_metadata import FrameRecord, Unit
from emdarks.cameras.header_reader import Explained
from emdarks.cameras.load import BUILTIN, camera_of_product, camera_text, load_camera
from emdarks.cameras.schema import (
    Bias,
    ConventionalRule,
    FrameFiles,
    HeaderRules,
    Keywords,
    Mode,
    NoiseFigures,
    Rule,
    Simulation,
)
from emdarks.cameras.units import Value

__all__ = [
    "BUILTIN",
    "Bias",
    "Camera",
    "ConventionalRule",
    "Explained",
    "FrameFiles",
    "FrameRecord",
    "HeaderRules",
    "Keywords",
    "Mode",
    "NoiseFigures",
    "Rule",
    "Simulation",
    "Unit",
    "Value",
    "camera_of_product",
    "camera_text",
    "load_camera",
]
