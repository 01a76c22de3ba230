"""Images of files that are not read, told once for all files."""

from __future__ import annotations

import warnings

from emdarks.errors import EmdarksWarning
from emdarks.fits import FileLayout, UnreadImage

#: What DATATYPE says in files that are no frames.
NO_FRAMES = frozenset(
    {
        "BadPixelMap",
        "Dark",
        "DetectorNoiseMaps",
        "DetectorParams",
        "KGain",
        "NonLinearityCalibration",
        "Truth",
    }
)
_NAMED = 4
_REMEDY = (
    'where they are frames, say so in the camera file, [frames] layout = "extensions" '
    "(Dataset(..., extensions=True))"
)


def kind_of_product(layout: FileLayout) -> str:
    """What DATATYPE says where it says that the file is a product; else empty."""
    kinds = (layout.image.cards.get("DATATYPE"), layout.primary.get("DATATYPE"))
    return next((str(kind) for kind in kinds if str(kind) in NO_FRAMES), "")


class UnreadImages:
    """Collects what is not read of the files of a dataset.

    Parameters
    ----------
    extensions : bool
        Every image is read but those that are no frames by their names.
    """

    def __init__(self, extensions: bool = False):
        self._files: list[FileLayout] = []
        self._images = 0
        self._extensions = extensions

    def note(self, layout: FileLayout) -> None:
        """Remember what a file holds beside its frame; the planes of products are known."""
        images = [image for image in layout.unread if not _is_documented(layout, image)]
        if images and not kind_of_product(layout):
            self._files.append(layout)
            self._images += len(images)

    def tell(self, stacklevel: int = 3) -> None:
        """Warn where there is anything that is not read: how much, where first, what to do."""
        if not self._files:
            return
        first = self._files[0]
        names = ", ".join(str(image) for image in first.unread[:_NAMED])
        more = f" and {rest} more" if (rest := len(first.unread) - _NAMED) > 0 else ""
        images = "1 image" if self._images == 1 else f"{self._images} images"
        files = "a file" if len(self._files) == 1 else f"{len(self._files)} files"
        frame = "" if self._extensions else f"; the frame is {_place(first)}"
        like = not self._extensions and any(image.like_frame for image in first.unread)
        warnings.warn(
            f"{images} of {files} not read, the first in {first.path}: {names}{more}{frame}"
            + (f"; {_REMEDY}" if like else ""),
            EmdarksWarning,
            stacklevel=stacklevel,
        )


def _is_documented(layout: FileLayout, image: UnreadImage) -> bool:
    """Whether it is the BIAS of a level 2a frame: what was subtracted from each row."""
    return image.name == "BIAS" and layout.err is not None and layout.dq is not None


def _place(layout: FileLayout) -> str:
    number = layout.image.hdu
    name = str(layout.image.cards.get("EXTNAME", "")).strip()
    return f"HDU {number} {name}".rstrip() if number else "that of the primary HDU"
