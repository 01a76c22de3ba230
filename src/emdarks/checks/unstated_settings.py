"""Readout settings that no header states: frames may differ in them unseen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from emdarks.cameras import Camera
from emdarks.frames import FrameInput

#: How alike two keywords are of which one may be meant by the other.
_ALIKE = 0.6
#: Cards named for a keyword, and values named of a card.
_CARDS, _VALUES = 2, 3
#: Beginnings of keywords that describe the file.
_OF_FILE = ("SIMPLE", "BITPIX", "NAXIS", "EXTEND", "BSCALE", "BZERO", "DATE", "COMMENT", "HISTORY")


def unstated_settings(camera: Camera, inputs: Sequence[FrameInput]) -> list[str]:
    """Readout settings that no header states, and what the headers have instead.

    Frames of which some state a setting and others do not are refused as different.

    Parameters
    ----------
    camera : Camera
        Names the settings.
    inputs : sequence of FrameInput
        The frames.

    Returns
    -------
    list of str
        A name and, in brackets, the keywords that were looked for and cards like them.
    """
    known = {name for item in inputs for name, value in item.record.setting if value != "-"}
    return [
        f"{name} ({_looked_for(camera, inputs, keywords)})"
        for name, keywords in _keywords_of(camera).items()
        if inputs and name not in known
    ]


def remedy_of_unstated(camera: Camera) -> str:
    """What to do about `unstated_settings`."""
    return (
        f'name the keywords in a camera file (like = "{camera.name}", [settings] name = '
        '"KEYWORD"), or there what a missing one means ([values] KEYWORD = { absent = 0 })'
    )


def _keywords_of(camera: Camera) -> dict[str, tuple[str, ...]]:
    """Settings whose absence is accepted, and their keywords."""
    found = dict(camera.settings)
    if camera.mirrored is not None:
        found["mirrored"] = (camera.mirrored.keyword,)
    return found


def _looked_for(camera: Camera, inputs: Sequence[FrameInput], keywords: Sequence[str]) -> str:
    """The card that says nothing; else the keywords, and the cards that are like them."""
    there = next((key for key in keywords if _values(inputs[:1], key)), None)
    if there is not None:
        return f"{there} = {_values(inputs, there)}, which tells nothing"
    alike = ", ".join(f"{key} = {_values(inputs, key)}" for key in _alike(camera, inputs, keywords))
    return f"no {' or '.join(keywords)}" + (f", but {alike}" if alike else "")


def _alike(camera: Camera, inputs: Sequence[FrameInput], keywords: Sequence[str]) -> list[str]:
    """Keywords of the first header that are like those looked for, and that nothing else reads."""
    used = set(_used(camera))
    headers = inputs[0].headers
    others = [
        key
        for key in {**headers["pri"], **headers["ext"]}
        if key not in used and not key.startswith(_OF_FILE)
    ]
    found = (key for name in keywords for key in get_close_matches(name, others, _CARDS, _ALIKE))
    return list(dict.fromkeys(found))


def _used(camera: Camera) -> Iterator[str]:
    """Keywords that the camera reads."""
    for names in (*vars(camera.keywords).values(), *camera.settings.values()):
        yield from names
    for rule in (camera.conventional, camera.mirrored, camera.darks):
        if rule is not None:
            yield rule.keyword


def _values(inputs: Sequence[FrameInput], keyword: str) -> str:
    """The first few values of a card in words; several where frames differ in it."""
    cards = (
        header[keyword]
        for item in inputs
        for header in (item.headers["ext"], item.headers["pri"])
        if keyword in header and header[keyword] is not None
    )
    values = list(dict.fromkeys(map(repr, cards)))
    rest = len(values) - _VALUES
    if rest > 0:
        return f"{', '.join(values[:_VALUES])} and {rest} other value{'s' if rest > 1 else ''}"
    return " or ".join(values)
