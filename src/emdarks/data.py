"""Frames and products: what users hold in their hands."""

from emdarks.frames import Dataset, Image
from emdarks.products import Dark, DetectorNoiseMaps, DetectorParams

__all__ = ["Dark", "Dataset", "DetectorNoiseMaps", "DetectorParams", "Image"]
