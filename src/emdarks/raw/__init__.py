"""Raw (level 1) frames: bias, saturation, cosmic rays, linearity, electrons; on arrays.

Two sweeps over the stored numbers of a frame. `scan` learns what needs the whole frame: the
bias of its rows, and which pixels cosmic rays hit; a few kB. With that, each row becomes
electrons by itself: `prepare` does so for one frame, and the stream for all frames of a stack
while it adds them, without an image of real numbers in memory.

The rules are those of corgidrp 5.1.1: ``prescan_biassub``, ``detect_cosmic_rays`` with
``median_filter_mode = 0``, ``correct_nonlinearity``, ``convert_to_electrons``.
"""

from emdarks.raw.bias import RowBias
from emdarks.raw.calibration import FramePlan, FullWell, RawCalibration
from emdarks.raw.linearity import Linearity
from emdarks.raw.search import DARK, STANDARD, CosmicRaySearch
from emdarks.raw.search_cost import SearchCost, above_threshold, search_cost
from emdarks.raw.sweeps import FrameScan, PreparedFrame, over_saturated, prepare, scan, stored_bytes

__all__ = [
    "DARK",
    "STANDARD",
    "CosmicRaySearch",
    "FramePlan",
    "FrameScan",
    "FullWell",
    "Linearity",
    "PreparedFrame",
    "RawCalibration",
    "RowBias",
    "SearchCost",
    "above_threshold",
    "over_saturated",
    "prepare",
    "scan",
    "search_cost",
    "stored_bytes",
]
