"""The errors and the warning that emdarks raises on purpose.

Each error also derives from the built-in class that the documented interface
promises, so that callers may catch either.
"""

from __future__ import annotations

import re
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
    "without_secrets",
]

# A path object turns two slashes into one.
_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]+:)(//?)([^\s'\"<>]+)")
_HOST = re.compile(r"[^:\[\]]*(:\d*)?|\[[^\]]*\](:\d*)?")


def without_secrets(text: str) -> str:
    """Text whose URLs have lost what may be secret.

    That is a user's name and password, and the query of a signed URL; a question mark in the
    URL of a store may be part of a pattern.
    """
    return _URL.sub(_without_secrets, text) if ":/" in text else text


def _without_secrets(found: re.Match[str]) -> str:
    scheme, slashes, rest = found.groups()
    host, slash, path = rest.partition("/")
    if len(slashes) == 1 and ":" not in host.partition("@")[0]:
        return found[0]  # a file of this machine after a word and a colon
    if "@" in host:
        rest = host.rpartition("@")[2] + slash + path
    elif not _HOST.fullmatch(host.partition("?")[0]):  # what looks like a port is a password
        rest = rest.rpartition("@")[2]
    web = scheme.lower() in ("http:", "https:")
    shown, mark, query = rest.partition("?")
    if web:
        shown = shown.partition("#")[0]
    if mark and not web and "=" not in query:
        shown = rest
    # Marks of the sentence around the URL stay.
    end = re.search(r"[:;,.)\]]*$", rest)
    return scheme + slashes + shown + ("" if shown == rest or end is None else end[0])


def _plain(args: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(without_secrets(arg) if isinstance(arg, str) else arg for arg in args)


class EmdarksError(Exception):
    """Base of every error that emdarks raises on purpose: the input is at fault.

    Whatever a message is made of, no secret of a URL is shown.
    """

    def __init__(self, *args: object):
        super().__init__(*_plain(args))


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

    def __init__(self, *args: object):
        super().__init__(*_plain(args))
