"""Calibration products: what they hold, how they are named, what their headers say."""

from emdarks.products.badpixelmap import BadPixelMap
from emdarks.products.dark import Dark
from emdarks.products.load import load_product
from emdarks.products.noisemaps import DetectorNoiseMaps
from emdarks.products.params import DetectorParams

__all__ = ["BadPixelMap", "Dark", "DetectorNoiseMaps", "DetectorParams", "load_product"]
