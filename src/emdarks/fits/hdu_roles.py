"""Which HDU of a file is what: image, errors, flags, or an image that is not read.

The image is the HDU named SCI; else that of the primary HDU, where that has pixels; else that
of HDU 1, as files with an empty primary HDU have it. Errors and flags go by their names: ERR
and DQ, or UNCERT and MASK as `astropy.nddata.CCDData` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from emdarks.errors import InputError, NoImageError

#: Names of flags and of errors, the first that a file has counts.
_FLAGS, _ERRORS = ("DQ", "MASK"), ("ERR", "UNCERT")
_PLANES = (*_FLAGS, *_ERRORS)
#: Images that are no frames by their names, wherever they stand.
_NO_FRAMES = frozenset(
    {"BIAS", "FLAT", "BACKGROUND", "BKG", "PREVIEW", "THUMBNAIL", "QUICKLOOK"}
    | {"VAR", "VARIANCE", "IVAR", "WEIGHT", "PSFIMAGE"}
)
#: What UNCERT holds, by the card UTYPE; without one, standard deviations.
_UNCERTAINTIES = {
    "": "",
    "NONE": "",
    "STD": "",
    "STDDEVUNCERTAINTY": "",
    "VAR": "variance",
    "VARIANCEUNCERTAINTY": "variance",
    "IVAR": "inverse variance",
    "INVERSEVARIANCE": "inverse variance",
}


class Found(NamedTuple):
    """What is known of an HDU before its role: ``shape`` is empty where it is no image."""

    name: str
    version: int
    shape: tuple[int, ...]
    uncertainty: str = ""

    @property
    def has_pixels(self) -> bool:
        """Whether it is an image with rows and columns."""
        return len(self.shape) >= 2 and min(self.shape) > 0


@dataclass(frozen=True, slots=True)
class UnreadImage:
    """An image of a file that is neither frame nor errors nor flags.

    Attributes
    ----------
    hdu : int
        Index of the HDU.
    name : str
        EXTNAME, or empty.
    like_frame : bool
        It has the shape of the frame, and no name that says that it is none.
    """

    hdu: int
    name: str
    like_frame: bool

    def __str__(self) -> str:
        return f"HDU {self.hdu} {self.name}".rstrip() if self.hdu else "the primary HDU"


class Roles(NamedTuple):
    """Indices of the planes of a frame, and what errors and flags mean (see `PlaneLayout`)."""

    image: int
    err: int | None
    dq: int | None
    meanings: Mapping[int, str]
    unread: tuple[UnreadImage, ...] = ()


def roles_of(hdus: Sequence[Found], path: str) -> Roles:
    """Image, errors and flags of a file of one frame (or one cube).

    Parameters
    ----------
    hdus : sequence of Found
        The HDUs in order.
    path : str
        For messages.

    Raises
    ------
    InputError
        There is no image (`NoImageError`), or a name of errors or flags stands there twice.
    """
    names = [hdu.name for hdu in hdus]
    # Of MASK and UNCERT only images are meant: other programs give tables such names.
    known = [
        n if n in ("ERR", "DQ") or hdu.shape else "" for n, hdu in zip(names, hdus, strict=True)
    ]
    for name in _PLANES:
        if known.count(name) > 1:
            raise InputError(
                f"{path}: has more than one HDU named {name}; remove one or leave the file out"
            )
    image = _image(hdus, known, path)
    err, dq = (
        next((known.index(name) for name in wanted if name in known), None)
        for wanted in (_ERRORS, _FLAGS)
    )
    meanings = {}
    if err is not None and names[err] == "UNCERT":
        # Errors of a kind that is not known are none; they are named with what is not read.
        meaning = _UNCERTAINTIES.get(hdus[err].uncertainty)
        err = None if meaning is None else err
        if err is not None and meaning:
            meanings[err] = meaning
    if dq is not None and names[dq] == "MASK":
        meanings[dq] = "mask"
    return Roles(image, err, dq, meanings, _unread(hdus, {image, err, dq}, hdus[image].shape))


def _image(hdus: Sequence[Found], names: Sequence[str], path: str) -> int:
    named = [i for i, name in enumerate(names) if name == "SCI" and hdus[i].has_pixels]
    if named:
        return named[0]
    if hdus[0].has_pixels and names[0] not in (*_PLANES, *_NO_FRAMES):
        return 0
    # Images that are no frames by their names may stand before the frame.
    first = next(
        (i for i in range(1, len(hdus)) if not (hdus[i].shape and names[i] in _NO_FRAMES)), 0
    )
    image = first if len(hdus[first].shape) >= 2 and names[first] not in _PLANES else 0
    if len(hdus[image].shape) >= 2 and names[image] not in (*_PLANES, *_NO_FRAMES):
        return image
    planes = [name for name in _PLANES if name in names]
    # An image of one dimension is a calibration, such as the electrons per DN with their error.
    if planes and len(hdus[first].shape) != 1:
        raise InputError(
            f"{path}: has {' or '.join(_spoken(planes))}, but no image in its first or second "
            "HDU; put the image there or leave the file out"
        )
    raise NoImageError(f"{path}: has no image in its first or second HDU; is it a frame?")


def _spoken(planes: Sequence[str]) -> Sequence[str]:
    return ("ERR", "DQ") if {"ERR", "DQ"} & set(planes) else planes


def _unread(
    hdus: Sequence[Found], read: set[int | None], shape: tuple[int, ...]
) -> tuple[UnreadImage, ...]:
    return tuple(
        UnreadImage(
            i,
            hdu.name if i else "",
            hdu.shape[-2:] == shape[-2:] and hdu.name not in (*_PLANES, *_NO_FRAMES),
        )
        for i, hdu in enumerate(hdus)
        if hdu.has_pixels and i not in read
    )


def frames_and_planes(hdus: Sequence[Found], path: str) -> Iterator[tuple[str, Roles]]:
    """Frames of a file whose images are frames each, with a label that tells them apart.

    Errors and flags belong to the frame of the same EXTVER.

    Parameters
    ----------
    hdus, path
        As for `roles_of`.

    Raises
    ------
    InputError
        No image is a frame (`NoImageError`), or errors or flags belong to no single frame.
    """
    images = [i for i, hdu in enumerate(hdus) if hdu.has_pixels]
    frames = [i for i in images if hdus[i].name not in (*_PLANES, *_NO_FRAMES)]
    if not frames:
        raise NoImageError(f"{path}: has no image that is a frame by its name; is it a frame?")
    owners = {i: _owner(hdus, i, frames, path) for i in images if hdus[i].name in _PLANES}
    shape = hdus[frames[0]].shape
    unread = _unread(hdus, {*frames, *owners}, shape)
    names = [hdus[i].name for i in frames]
    for i in frames:
        own = [0, *(j for j, owner in owners.items() if owner == i)]
        roles = roles_of([hdus[i]._replace(name="SCI"), *(hdus[j] for j in own[1:])], path)
        back = {0: i} | {k: j for k, j in enumerate(own) if k}
        label = hdus[i].name if i and names.count(hdus[i].name) == 1 else ""
        yield (
            label or f"HDU {i}",
            Roles(
                i,
                None if roles.err is None else back[roles.err],
                None if roles.dq is None else back[roles.dq],
                {back[k]: meaning for k, meaning in roles.meanings.items()},
                unread,
            ),
        )


def _owner(hdus: Sequence[Found], plane: int, frames: Sequence[int], path: str) -> int:
    fitting = [i for i in frames if hdus[i].version == hdus[plane].version]
    if len(fitting) != 1:
        raise InputError(
            f"{path}: HDU {plane} {hdus[plane].name} (EXTVER {hdus[plane].version}) belongs to "
            f"{len(fitting)} of its {len(frames)} frames; give frame, errors and flags that belong "
            "together an EXTVER of their own, or remove the HDU"
        )
    return fitting[0]
