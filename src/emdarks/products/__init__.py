"""Calibration products: what they hold, how they are named, what their headers say."""

from emdarks.products.bad_pixel_map import BadPixelMap
from emdarks.products.dark import Dark
from emdarks.products.detector_params import DetectorParams
from emdarks.products.load import load_product
from emdarks.products.noise_maps import DetectorNoiseMaps

__all__ = ["BadPixelMap", "Dark", "DetectorNoiseMaps", "DetectorParams", "load_product"]
