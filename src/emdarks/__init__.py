"""Dark calibration for EMCCD cameras."""

__version__ = "0.1.0"
