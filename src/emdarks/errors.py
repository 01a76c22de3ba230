"""The errors and the warning that emdarks raises on purpose.

Each error also derives from the built-in class that the documented interface
promises, so that callers may catch either.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CalDarksLSQException",
    "ClusterError",
    "EmdarksError",
    "EmdarksWarning",
    "GeometryError",
    "InputError",
    "InputTypeError",
    "MissingKeywordError",
    "NoImageError",
    "SeveralStacksError",
    "TooFewFramesError",
    "UnreadableFrameError",
]


class EmdarksError(Exception):
    """Base of every error that emdarks raises on purpose: the input is at fault."""


class InputError(EmdarksError, ValueError):
    """A frame, file or argument that cannot be used; the message says which and what to do."""


class ClusterError(EmdarksError, ConnectionError):
    """A cluster that cannot be reached, was lost, or could not do its work."""


class NoImageError(InputError):
    """A FITS file without an image where a frame has one."""


class SeveralStacksError(InputError):
    """Frames of several stacks where those of one are needed.

    Parameters
    ----------
    message : str
        What is wrong.
    stacks : tuple
        The stacks, each with ``commanded_gain``, ``exposure_time``, ``k_gain`` and ``frames``.
    """

    def __init__(self, message: str, stacks: tuple[Any, ...]):
        super().__init__(message)
        self.stacks = stacks


class TooFewFramesError(InputError):
    """Stacks of so few frames that odd ones cannot be compared with even ones."""


class UnreadableFrameError(InputError):
    """A file whose headers were read, and whose pixels cannot be.

    Parameters
    ----------
    path : str
        The file.
    reason : str
        What is wrong; the message is both.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class InputTypeError(EmdarksError, TypeError):
    """An argument of the wrong kind where the documented interface promises TypeError."""


class GeometryError(EmdarksError, ValueError):
    """A detector region that does not exist or does not fit its frame."""


class MissingKeywordError(EmdarksError, KeyError):
    """A header keyword that is needed and absent; names the keyword and the file."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class CalDarksLSQException(EmdarksError):  # noqa: N818  the documented name
    """The stacks of a campaign cannot be fitted for noise maps."""


class EmdarksWarning(UserWarning):
    """Something a user can act on; the product is still what it says it is."""
