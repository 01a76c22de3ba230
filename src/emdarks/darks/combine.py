"""The mean of a stack that honours bad-pixel maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from emdarks.accumulate import Executor, Sample, StackJob, Threads
from emdarks.arguments import check_flag
from emdarks.errors import InputError, InputTypeError
from emdarks.fits.pixels import ArraySource, FrameSource
from emdarks.frames import frame_sources
from emdarks.frames.array_checks import flags_plane, number_plane
from emdarks.stacks.calibration_inputs import check_executor, mask_of

Array = npt.NDArray[Any]


def mean_combine(
    dataset_or_image_list: Any,
    bpmap_list: Any,
    err: bool = False,
    *,
    mask_bits: int | None = None,
    executor: Executor | None = None,
) -> tuple[Array, Array, Array, bool]:
    """Average frames, leaving out bad samples.

    Parameters
    ----------
    dataset_or_image_list : Dataset, list of ndarray, or ndarray
        Frames of one shape (rows, columns). Of a dataset (ours, or an object like
        it), the frames' own pixels and flags are used, read from their files where
        they are not in memory. An array of two axes is one frame, of three a stack.
    bpmap_list : list of ndarray, or ndarray
        Bad-pixel maps, 0 good and 1 bad, of any integer or boolean type. Ignored
        for a dataset.
    err : bool
        Combine errors instead: the frames' errors for a dataset, else the images are
        taken to be errors. The result is the *root mean square* of the input errors,
        sqrt(sum s_j^2 / n), as the reference has it; it does not shrink with n, so it
        is not the standard error of the mean, which is smaller by sqrt(n).
    mask_bits : int, optional
        Flag bits of a dataset that mark a sample as bad; all by default.
    executor : Executor, optional
        Who computes; the threads of this process by default.

    Returns
    -------
    comb_image : ndarray of float64, shape (rows, columns)
        sum(m_j x_j) / n, or the root mean square; 0 where every frame is bad.
    comb_bpmap : ndarray of int, shape (rows, columns)
        1 where every frame is bad.
    map_im : ndarray of int, shape (rows, columns)
        Number n of good frames.
    enough_for_rn : bool
        Whether every pixel is good in at least half of the frames.

    Raises
    ------
    InputTypeError
        A list or array is no stack of equal frames, or the maps do not match it.
    InputError
        A frame of a dataset cannot be used.

    Notes
    -----
    Units are never converted. Samples that are not finite count as bad.

    Examples
    --------
    >>> import numpy as np
    >>> from emdarks import mean_combine
    >>> frames = [np.array([[1.0, 2.0]]), np.array([[3.0, 90.0]])]
    >>> bad = [np.array([[0, 0]]), np.array([[0, 1]])]
    >>> mean, all_bad, n, enough_for_rn = mean_combine(frames, bad)
    >>> mean, n
    (array([[2., 2.]]), array([[2, 1]]))
    """
    check_flag("err", err)
    check_executor(executor)
    if hasattr(dataset_or_image_list, "frames"):
        frames = frame_sources(dataset_or_image_list)
        sources: list[FrameSource] = [f.err_as_data() if err else f for f in frames]
        mask = mask_of(mask_bits)
    else:
        images = list(_as_list(dataset_or_image_list))
        maps = list(_as_list(bpmap_list))
        _check(images, maps)
        sources = [ArraySource(i, None, m) for i, m in zip(images, maps, strict=True)]
        mask = mask_of(None)
    return _combine(sources, err, mask, executor or Threads())


def _combine(
    sources: Sequence[FrameSource], err: bool, mask: int, executor: Executor
) -> tuple[Array, Array, Array, bool]:
    shape = sources[0].shape
    job = StackJob(tuple(Sample(source) for source in sources), shape, mask)
    moments = executor.sums(job).moments
    n = moments.n.astype(np.int64)
    mean = moments.mean
    if err:
        # sum x^2 / n = mean^2 + sum (x - mean)^2 / n
        mean = np.sqrt(mean**2 + moments.m2 / np.maximum(n, 1))
    enough = not n.min() < len(sources) / 2
    return mean.reshape(shape), (n == 0).astype(np.int64).reshape(shape), n.reshape(shape), enough


def _as_list(arrays: Any) -> list[Any]:
    if isinstance(arrays, np.ndarray):
        if arrays.ndim == 2:
            return [arrays]
        if arrays.ndim in (1, 3):
            return list(arrays)
    if isinstance(arrays, list):
        return arrays
    raise InputTypeError(
        "frames and maps must be lists of 2-D arrays, or arrays of 2 or 3 axes, "
        f"not {_kind(arrays)}"
    )


def _kind(value: Any) -> str:
    return (
        f"an array of {value.ndim} axes" if isinstance(value, np.ndarray) else type(value).__name__
    )


def _check(images: list[Any], maps: list[Any]) -> None:
    if len(images) != len(maps):
        raise InputTypeError(f"{len(images)} frames but {len(maps)} bad-pixel maps")
    if not images:
        raise InputTypeError("there are no frames to combine")
    for i, image in enumerate(images):
        images[i] = _plane(image, f"frame {i}")
        if images[i].shape != images[0].shape:
            raise InputTypeError(
                f"frame {i} has shape {images[i].shape}, the first {images[0].shape}"
            )
    for i, bad in enumerate(maps):
        maps[i] = _plane(bad, f"bad-pixel map {i}", flags_plane)
        if maps[i].dtype.kind not in "iub" or not np.isin(maps[i], (0, 1)).all():
            raise InputTypeError(f"bad-pixel map {i} holds other values than 0 and 1")
        if maps[i].shape != images[0].shape:
            raise InputTypeError(
                f"bad-pixel map {i} has shape {maps[i].shape}, the frames {images[0].shape}"
            )


def _plane(values: Any, name: str, plain: Callable[[Any, str], Array] = number_plane) -> Array:
    try:
        array = plain(values, name)
    except InputError as error:
        raise InputTypeError(str(error)) from None
    if array.ndim != 2 or array.dtype.kind not in "iubf":
        raise InputTypeError(f"{name} is no array of real numbers with rows and columns")
    return array
