"""Darks of a library taken off frames, each frame its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emdarks.cameras import Camera, load_camera
from emdarks.errors import InputError
from emdarks.frames import Dataset, frames_of, prepare_frames
from emdarks.library.entry import Entry, Kind, headers_of_product
from emdarks.library.folder import Library
from emdarks.library.match import Match
from emdarks.library.request import requests_of
from emdarks.products import load_product
from emdarks.subtract import save_subtracted, subtract_dark
from emdarks.subtract.recipe import check_targets, refuse_twins

#: What raw frames need, by the keyword of `prepare_frames`.
_CALIBRATIONS = {
    "nonlinearity": Kind.NONLINEARITY,
    "kgain": Kind.K_GAIN,
    "detector_params": Kind.DETECTOR_PARAMS,
}


@dataclass(frozen=True)
class Share:
    """Frames that use the same products of a library.

    Attributes
    ----------
    frames : list
        As they were given.
    matches : list of Match
        Why each gets its dark.
    calibrations : mapping of str to Match
        Of raw frames, by the keyword of `prepare_frames`.
    camera : str or Camera
        Of all of them.
    """

    frames: list[Any]
    matches: list[Match]
    calibrations: Mapping[str, Match]
    camera: str | Camera

    @property
    def dark(self) -> Entry:
        """The dark, or noise maps, of these frames."""
        entry = self.matches[0].entry
        assert entry is not None
        return entry


class LibrarySubtraction:
    """Frames, and for each its dark out of a library; see `subtract_by_library`.

    Attributes
    ----------
    matches : list of Match
        In the order of the frames: which product, and why.
    shares : list of Share
        The frames by the products that they use.
    """

    def __init__(
        self,
        library: Library,
        dataset: Any,
        camera: str | Camera | None,
        days: float | None,
        preparation: Mapping[str, Any],
        options: Mapping[str, Any],
    ):
        self._library, self._preparation, self._options = library, preparation, options
        self._offsets: dict[int, str] = {}
        kgain = options.get("kgain")
        frames = frames_of(dataset)
        self.matches = library.find(frames, camera=camera, kgain=kgain, days=days)
        _refuse_missing(self.matches)
        found = self._calibrations(frames, camera, kgain)
        self.shares = _shared(frames, self.matches, found, camera)
        self._last: tuple[Share, Dataset] | None = None

    def _calibrations(
        self, frames: Sequence[Any], camera: Any, kgain: float | None
    ) -> list[dict[str, Match]]:
        """What each raw frame is prepared with, where nobody gave it."""
        raw = [i for i, match in enumerate(self.matches) if match.request.raw]
        found: list[dict[str, Match]] = [{} for _ in frames]
        if not raw:
            return found
        given = self._preparation
        wanted = {name: kind for name, kind in _CALIBRATIONS.items() if given.get(name) is None}
        if given.get("offset") is None:
            wanted["offset"] = Kind.NOISE_MAPS
        chosen = [frames[i] for i in raw]
        for name, kind in wanted.items():
            asked = requests_of(chosen, camera, kgain, kind)
            if name == "offset":
                asked = [
                    replace(request, offset_only=True, offset_of=self._offset_of(i))
                    for i, request in zip(raw, asked, strict=True)
                ]
            for i, match in zip(raw, self._library.match(asked, None, kgain), strict=True):
                own = name == "offset" and self._dark(i).kind is Kind.NOISE_MAPS
                found[i][name] = self.matches[i] if own else match
        _refuse_missing([each for matches in found for each in _needed(matches, camera)])
        return found

    def _dark(self, frame: int) -> Entry:
        entry = self.matches[frame].entry
        assert entry is not None  # refused before
        return entry

    def _offset_of(self, frame: int) -> str:
        """Noise maps whose bias offset the frames of the dark have; empty where it says none."""
        dark = self._dark(frame)
        if dark.id not in self._offsets:
            image, _ = headers_of_product(self._library.file(dark))
            name, value = str(image.get("BIASOFF", "")), image.get("BIASOFFV")
            if value is not None:
                maps = self._library.list(Kind.NOISE_MAPS)
                same = (one.path for one in maps if _has_offset(one, value))
                name = next(same, f"{name} ({value:g} DN)")
            self._offsets[dark.id] = name
        return self._offsets[dark.id]

    def __iter__(self) -> Iterator[Dataset]:
        """Subtracted frames of each share, one after the other: a product in memory at a time."""
        for share in self.shares:
            yield self._subtracted(share)

    def _subtracted(self, share: Share) -> Dataset:
        if self._last is not None and self._last[0] is share:
            return self._last[1]
        self._last = None  # one product in memory at a time
        dark = load_product(self._library.verified(share.dark))
        dataset: Dataset = Dataset(share.frames)
        if share.matches[0].request.raw:
            dataset = self._prepared(dataset, share)
        less = subtract_dark(dataset, dark, camera=share.camera, **self._options)
        for frame in less:
            frame.note(_notes(share.matches[frame.place], share))
        self._last = share, less
        return less

    def _prepared(self, dataset: Dataset, share: Share) -> Dataset:
        given = {name: value for name, value in self._preparation.items() if value is not None}
        files = {
            name: self._library.verified(match.entry)
            for name, match in share.calibrations.items()
            if match.entry is not None
        }
        return prepare_frames(dataset, camera=share.camera, **(files | given))

    def save(
        self,
        folder: Path,
        *,
        overwrite: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Path]:
        """Write all frames, one in memory at a time; see `emdarks.subtract.save_subtracted`.

        Names and headers of all frames are checked before the first is computed.
        """
        targets: list[Path] = []
        for less in self:
            own = [folder / frame.filename for frame in less]
            check_targets(own, less, overwrite)
            targets += own
        refuse_twins(targets)
        files: list[Path] = []
        for less in self:

            def advance(done: int, _: int, before: int = len(files)) -> None:
                if progress is not None:
                    progress(before + done, len(targets))

            files += save_subtracted(less, folder, overwrite=overwrite, progress=advance)
        return files


def subtract_by_library(
    library: Library,
    dataset: Any,
    *,
    camera: str | Camera | None = None,
    days: float | None = None,
    preparation: Mapping[str, Any] | None = None,
    **options: Any,
) -> LibrarySubtraction:
    """Find the dark of each frame in a library, and subtract it.

    Raw frames are prepared before, with the nonlinearity table, k-gain, detector parameters and
    bias offset of the library where ``preparation`` does not give them.

    Parameters
    ----------
    library : Library
        The library.
    dataset : Dataset, or a list of frames
        Of any cameras, settings and nights.
    camera : str or Camera, optional
        Of all frames; by default the one that each frame names.
    days : float, optional
        How far from a frame a product that is not certified may be; see `Library.find`.
    preparation : mapping, optional
        Keywords of `emdarks.frames.prepare_frames`.
    **options
        Keywords of `emdarks.subtract.subtract_dark`.

    Returns
    -------
    LibrarySubtraction
        Iterate over it for the subtracted frames, or `LibrarySubtraction.save` them. What was
        used, and why, is in the history of each frame.

    Raises
    ------
    InputError
        The library has nothing for a frame: says what is missing and which command makes it.
    """
    return LibrarySubtraction(library, dataset, camera, days, preparation or {}, options)


def _has_offset(maps: Entry, value: float) -> bool:
    """Names of files do not tell maps apart; their offsets do."""
    known = maps.numbers.get("bias_offset")
    return known is not None and math.isclose(known.value, value, rel_tol=1e-9)


def _refuse_missing(matches: Sequence[Match]) -> None:
    missing = [match for match in matches if match.entry is None]
    if missing:
        more = f" (and {len(missing) - 1} more frames without one)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0].missing}{more}")


def _needed(calibrations: Mapping[str, Match], camera: str | Camera | None) -> Iterator[Match]:
    """Those that raw frames cannot do without: others stand in headers and in the camera file."""
    for name, match in calibrations.items():
        linear = load_camera(camera or match.request.camera).linearity is not None
        if name == "offset" or (name == "nonlinearity" and not linear):
            yield match


def _shared(
    frames: Sequence[Any],
    matches: Sequence[Match],
    calibrations: Sequence[Mapping[str, Match]],
    camera: str | Camera | None,
) -> list[Share]:
    """Sort frames by what they use; in the order of the first of each."""
    shares: dict[Any, Share] = {}
    for frame, match, found in zip(frames, matches, calibrations, strict=True):
        used = (match, *found.values())
        key = (
            match.request.camera,
            match.request.raw,
            match.request.kind,
            tuple(each.entry.id for each in used if each.entry is not None),
        )
        if key not in shares:
            shares[key] = Share([], [], found, camera or match.request.camera)
        shares[key].frames.append(frame)
        shares[key].matches.append(match)
    return list(shares.values())


def _notes(match: Match, share: Share) -> list[str]:
    """Lines of history: which products of the library were used, and why."""
    used = {"dark": match, **share.calibrations}
    return [
        f"From the library, {name.replace('_', ' ')}: product {each.entry.id} ({each.entry.name}, "
        f"SHA-256 {each.entry.sha256}): {each.reason or 'the only one'}"
        for name, each in used.items()
        if each.entry is not None
    ]
