"""Frames that cannot be used: refused, or left out and remembered."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from emdarks.arguments import is_number
from emdarks.errors import EmdarksWarning, InputError

#: Share of bad frames that is left out at most, by default.
SKIP_SHARE = 0.1
_NAMED = 3


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A file that was left out.

    Attributes
    ----------
    path : str
        The file, with the plane of a cube.
    reason : str
        What is wrong with it.
    """

    path: str
    reason: str

    @property
    def name(self) -> str:
        """File name without folder."""
        return Path(self.path).name

    @property
    def fault(self) -> str:
        """What is wrong, without what to do: that was done."""
        return self.reason.partition("; ")[0]

    @classmethod
    def of(cls, path: str, error: Exception | str) -> BadFrame:
        """Take the reason out of an error's line, which names the file first."""
        return cls(path, str(error).removeprefix(f"{path}: "))


class Skipping:
    """What to do with frames that cannot be used, and which they were.

    Parameters
    ----------
    wanted : bool
        Leave them out; else they are refused.
    share : float
        Share of all frames that may be left out.
    known : iterable of BadFrame
        Left out before, when the files were opened.
    elsewhere : int
        Frames that were opened with these and are not among them: what was left out then may
        have belonged to those as well.
    unused : iterable of BadFrame
        Frames that were never to be used, such as those of setup: no share limits them.
    """

    def __init__(
        self,
        wanted: bool = False,
        share: float = SKIP_SHARE,
        known: Iterable[BadFrame] = (),
        elsewhere: int = 0,
        unused: Iterable[BadFrame] = (),
    ):
        if not is_number(share) or not 0 <= share < 1:
            raise InputError(f"skip_share is {share!r}; it is a share, from 0 up to 1")
        self.wanted = wanted
        self.share = share
        self.bad = list(known)
        #: How many of them were left out on purpose: no share limits these.
        self.apart = 0
        self._known = len(self.bad) if elsewhere else 0
        self._elsewhere = elsewhere
        self._unused = list(unused)

    @property
    def all(self) -> list[BadFrame]:
        """Frames that a product was made without: bad ones, and those never to be used."""
        return self.bad + self._unused

    def leave_out(self, found: Iterable[BadFrame], frames: int) -> None:
        """Remember bad frames.

        Parameters
        ----------
        found : iterable of BadFrame
            The frames.
        frames : int
            All frames, those left out before included.

        Raises
        ------
        InputError
            Frames are not to be left out, or too many are bad.
        """
        new = list(found)
        if new and not self.wanted:
            first = new[0]
            more = f" (and {len(new) - 1} more bad frames)" if len(new) > 1 else ""
            raise InputError(f"{first.path}: {first.reason}{more}")
        self.bad += new
        self.check(frames)

    def skip(self, found: Iterable[BadFrame], frames: int) -> None:
        """Remember frames that are left out by their kind, also where bad ones are refused.

        Raises
        ------
        InputError
            These are too many.
        """
        self.bad += found
        self.check(frames)

    def set_aside(self, found: Iterable[BadFrame]) -> None:
        """Remember frames that are left out on purpose, however many."""
        before = len(self.bad)
        self.bad += found
        self.apart += len(self.bad) - before

    def check(self, frames: int) -> None:
        """Refuse a campaign of which too much is bad.

        Raises
        ------
        InputError
            More than the share is bad, or every frame.
        """
        if self._known:
            self._check(self._known, frames + self._elsewhere)
        told = self._known + self.apart
        self._check(len(self.bad) - told, frames - told)

    def _check(self, count: int, frames: int) -> None:
        if count > self.share * frames or (count and count >= frames):
            raise InputError(
                f"{count} of {frames} frames cannot be used ({count / frames:.1%}), more than the "
                f"share of {self.share:.1%} that may be left out (--skip-share); the first: "
                f"{self.bad[0].path}: {self.bad[0].reason}"
            )

    def tell(self, frames: int, stacklevel: int = 3) -> None:
        """Say once which frames were left out."""
        if not self.bad:
            return
        named = "; ".join(f"{bad.name}: {bad.fault}" for bad in self.bad[:_NAMED])
        rest = len(self.bad) - _NAMED
        warnings.warn(
            f"{len(self.bad)} of {frames} frames left out: {named}"
            + (f"; and {rest} more" if rest > 0 else ""),
            EmdarksWarning,
            stacklevel=stacklevel,
        )
