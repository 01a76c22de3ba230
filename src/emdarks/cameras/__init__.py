"""What emdarks knows of a camera: geometry, keyword names, units, noise figures.

One function, `Camera.record`, turns the headers of a frame into one small
`FrameRecord`; keyword names stand nowhere else.
"""

from emdarks.cameras.camera import Camera, HeaderRules, Keywords, NoiseFigures
from emdarks.cameras.load import BUILTIN, load_camera
from emdarks.cameras.record import FrameRecord, Unit

__all__ = [
    "BUILTIN",
    "Camera",
    "FrameRecord",
    "HeaderRules",
    "Keywords",
    "NoiseFigures",
    "Unit",
    "load_camera",
]
