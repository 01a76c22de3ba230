"""How simulated frames are put into files, and the files themselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from emdarks.cameras import Camera, Unit
from emdarks.fits import astropy_fits as fits
from emdarks.fits import image_hdu, write_whole
from emdarks.simulate.frames import Frame
from emdarks.simulate.headers import FrameFacts, frame_headers, plain_header
from emdarks.simulate.truth import Level, known_bias


class FilePlan(NamedTuple):
    """One file, and the frames in it."""

    name: str
    facts: tuple[FrameFacts, ...]


class FileNames(NamedTuple):
    """How frames are put into files.

    Attributes
    ----------
    files : {"l1", "l2a", "single", "cube"}
        One frame a file, named as the Coronagraph's or plainly; or cubes.
    frames_per_file : int
        Most frames of a cube.
    """

    files: str
    frames_per_file: int

    def plans(self, facts: Iterable[FrameFacts]) -> Iterator[FilePlan]:
        """Files in order; a cube holds frames of one stack."""
        for (stack, part), group in groupby(facts, self._place):
            frames = tuple(group)
            if self.files in ("l1", "l2a"):
                yield FilePlan(frames[0].filename, frames)
            elif self.files == "single":
                yield FilePlan(f"dark_{stack + 1:03d}_{part + 1:05d}.fits", frames)
            else:
                # Andor Solis names the second file of a cube ._X2 and so on.
                ending = f"_X{part + 1}" if part else ""
                yield FilePlan(f"dark_{stack + 1:03d}{ending}.fits", frames)

    def _place(self, facts: FrameFacts) -> tuple[int, int]:
        return facts.stack, facts.frame // self.frames_per_file


def file_names(camera: Camera, level: Level) -> FileNames:
    """How frames of a camera are put into files."""
    if camera.frames.err_and_dq:
        return FileNames(f"l{level}", 1)
    if camera.frames.layout == "single":
        return FileNames("single", 1)
    return FileNames("cube", camera.simulation.frames_per_file)


def stored_numbers(data: npt.NDArray[np.float32], camera: Camera) -> npt.NDArray[Any]:
    """Numbers of the camera's converter, bias included.

    Parameters
    ----------
    data : ndarray of float32, shape (rows, columns)
        DN without the bias that reading the frame will subtract.
    camera : Camera
        Type of the pixels, bits of the converter, bias.

    Returns
    -------
    ndarray, shape (rows, columns)
    """
    files = camera.frames
    bias = known_bias(camera)
    numbers = data if bias is None else data + bias
    if files.bit_depth is not None or files.dtype == "uint16":
        numbers = np.rint(numbers).clip(0, 2 ** (files.bit_depth or 16) - 1)
    return numbers.astype(files.dtype)


def save_plain(path: Path, frames: Sequence[Frame], facts: FrameFacts, camera: Camera) -> None:
    """Write frames as a camera without ERR and DQ planes does: a frame, or a cube."""
    numbers = [stored_numbers(frame.data, camera) for frame in frames]
    header = plain_header(facts, camera)
    if camera.frames.layout == "extensions":
        images = [image_hdu(image, name=f"FRAME{i}") for i, image in enumerate(numbers)]
        write_whole([fits.PrimaryHDU(header=header), *images], path)
        return
    pixels = np.stack(numbers) if camera.frames.layout == "cube" else numbers[0]
    write_whole([fits.PrimaryHDU(pixels, header=header)], path)


def save_l1(path: Path, numbers: npt.NDArray[np.uint16], facts: FrameFacts, camera: Camera) -> None:
    """Write a raw frame: a primary HDU without data, and the numbers of the converter."""
    headers = frame_headers(facts, camera)
    primary = fits.PrimaryHDU(header=headers["primary"])
    write_whole([primary, image_hdu(numbers, headers["image"])], path)


def save_l2a(path: Path, frame: Frame, facts: FrameFacts, camera: Camera, error: float) -> None:
    """Write a frame with an ERR plane of one value (EM electrons) and its DQ plane."""
    headers = frame_headers(facts, camera)
    scale = 1.0 if facts.unit is Unit.EM_ELECTRON else facts.k_gain
    errors = np.full((1, *frame.data.shape), error / scale, dtype=np.float32)
    hdus: list[Any] = [
        fits.PrimaryHDU(header=headers["primary"]),
        image_hdu(frame.data, headers["image"]),
        image_hdu(errors, headers["err"], "ERR"),
        image_hdu(frame.dq, headers["dq"], "DQ"),
    ]
    write_whole(hdus, path)
