"""How commands begin: frames are opened, the output is chosen, an executor is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emdarks.cli import console
from emdarks.cli.command import arguments
from emdarks.cli.options import Execution, Frames, ProductOutput, RawFrames
from emdarks.cli.output_files import Target, check_not_a_frame, check_not_read, output_file

if TYPE_CHECKING:
    from emdarks.accumulate import Executor
    from emdarks.frames import Dataset


def open_frames(frames: Frames, raw: RawFrames, skip_bad_frames: bool) -> Dataset:
    """Open the frames that a command line names; reads headers only.

    Raises
    ------
    typer.BadParameter
        An option of the selection is wrong.
    InputError
        A file cannot be read, or none is left.
    """
    from emdarks.frames import select_frames

    dataset = select_frames(**arguments(frames), camera=raw.camera, skip_bad_frames=skip_bad_frames)
    return prepared(dataset, raw, skip_bad_frames)


def prepared(dataset: Dataset, raw: RawFrames, skip_bad_frames: bool = False) -> Dataset:
    """The frames, made ready by the options for raw frames where they are raw (level 1).

    Raises
    ------
    InputError
        Something that raw frames need is missing or cannot be read.
    """
    from emdarks.frames import prepare_frames, raw_frames_in

    if not raw_frames_in(dataset, raw.camera):
        return dataset
    found = prepare_frames(
        dataset, camera=raw.camera, skip_bad_frames=skip_bad_frames, **preparation(raw)
    )
    console.say(f"raw frames: {found.preparation}")
    return found


def preparation(raw: RawFrames) -> dict[str, Any]:
    """Keyword arguments of `emdarks.frames.prepare_frames`."""
    search = raw.cosmic_rays
    return {
        "nonlinearity": raw.nonlinearity,
        "kgain": raw.kgain,
        "detector_params": raw.params,
        "offset": raw.offset,
        "cosmic_rays": None if search is None else search.value,
    }


def product_target(output: ProductOutput, dataset: Dataset, ending: str, raw: RawFrames) -> Target:
    """File for a product of frames; none that the command reads.

    Parameters
    ----------
    output : ProductOutput
        What is asked for.
    dataset : Dataset
        The frames; the last one names the product where a folder is asked for.
    ending : str
        Of the documented name: ``"_dnm_cal"``.
    raw : RawFrames
        Files that the frames are read with.

    Raises
    ------
    InputError
        The file exists, is one that is read, or cannot be written.
    """
    from emdarks.products.header import product_name

    name = product_name(dataset.frames[-1].filename, ending)
    target = output_file(output.output, name, output.overwrite)
    check_not_a_frame(target, dataset)
    check_not_read(target, vars(raw).values())
    return target


@contextmanager
def streaming(execution: Execution, verb: str, frames: int, then: str = "") -> Iterator[Executor]:
    """Run a command that streams frames: an executor that shows how far it has come.

    Parameters
    ----------
    execution : Execution
        Threads, a Dask cluster, a folder of checkpoints.
    verb, then : str
        As in `emdarks.cli.console.progress`.
    frames : int
        Number of frames that will be streamed.

    Yields
    ------
    Executor
    """
    from emdarks.accumulate import Checkpoint, Threads

    with ExitStack() as held:
        advance = held.enter_context(console.progress(verb, "frames", then))
        advance(0, frames)
        executor: Executor
        if execution.dask is None:
            executor = Threads(execution.threads, progress=advance)
            console.say_more(f"{verb} {frames} frames with {executor.threads} threads")
        else:
            from emdarks.accumulate.dask import Dask

            cluster = Dask(execution.dask, progress=advance, threads=execution.threads)
            executor = held.enter_context(cluster)
            console.say_more(f"{verb} {frames} frames on the Dask cluster at {executor.address}")
        folder = execution.checkpoint
        yield executor if folder is None else Checkpoint(executor, folder)


def output_folder(name: str) -> Path:
    """The folder for the results.

    Raises
    ------
    InputError
        It is a URL or a file.
    """
    from emdarks.errors import InputError
    from emdarks.fits import is_url, local_path

    if is_url(name) and local_path(name) is None:
        raise InputError(f"{name}: is a URL; name a folder of this machine")
    folder = Path(local_path(name) or name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the results")
    return folder


def named_frames(frames: Frames, camera: str | None) -> Dataset:
    """Open the frames without the camera's rule for darks, which would leave out science frames."""
    from emdarks.frames import frames_where, reads_extensions, select_frames

    named = arguments(frames)
    wanted = named.pop("where")
    dataset = select_frames(**named, extensions=reads_extensions(camera))
    return frames_where(dataset, wanted, camera) if wanted else dataset
