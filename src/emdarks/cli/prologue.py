"""How commands begin: frames are opened, the output is chosen, an executor is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from emdarks.cli import console
from emdarks.cli.command import arguments
from emdarks.cli.options import CalibrationOutput, Execution, Frames, RawFrames
from emdarks.cli.output_files import (
    Target,
    check_not_a_frame,
    check_not_read,
    local_output,
    output_file,
)

if TYPE_CHECKING:
    from emdarks.accumulate import Executor
    from emdarks.frames import Dataset
    from emdarks.library import Entry, Library
    from emdarks.products.product import Product


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


def product_target(
    output: CalibrationOutput, dataset: Dataset, ending: str, raw: RawFrames
) -> Target:
    """File for a product of frames; none that the command reads.

    Parameters
    ----------
    output : CalibrationOutput
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

    target = calibration_file(output, product_name(dataset.frames[-1].filename, ending))
    check_not_a_frame(target, dataset)
    check_not_read(target, vars(raw).values())
    return target


def calibration_file(output: CalibrationOutput, documented_name: str) -> Target:
    """File for a product; where it goes into a library alone, that is only its name there.

    Raises
    ------
    InputError
        It exists or cannot be written, or there is no such library.
    """
    if output.add is not None:
        from emdarks.library import Library

        Library(output.add)  # better now than after an hour of fitting
    if output.output is None:
        return Target(str(output.add), documented_name)
    return output_file(output.output, documented_name, output.overwrite)


def save_calibration(
    product: Product, output: CalibrationOutput, target: Target, camera: str | None
) -> tuple[Path | Target, dict[str, int]]:
    """Write a product where it was asked for; its file, and its number in the library.

    Raises
    ------
    InputError
        It cannot be written, or the library does not take it.
    """
    if output.output is not None:
        product.save(target.parent, target.name)
    if output.add is None:
        return target, {}
    from emdarks.fits import is_url
    from emdarks.library import Library

    library = Library(output.add)
    with TemporaryDirectory() as folder:
        file = Path(str(target))
        if output.output is None or is_url(str(target)):
            file = Path(folder) / target.name
            product.save(folder, target.name)
        entry = _added(library, file, camera)
    kept = library.file(entry) if output.output is None else target
    return kept, {"library_product": entry.id}


def _added(library: Library, file: Path, camera: str | None) -> Entry:
    """Add a product; one with a problem is kept, too, since its frames took long, but not used."""
    from emdarks.errors import InputError

    try:
        return library.add(file, camera=camera)
    except InputError as error:
        entry = library.add(file, camera=camera, accept="to be looked at")
        return library.reject(entry.id, str(error))


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

    folder = local_output(name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file; name a folder for the results")
    return folder


def figures_folder(name: str | None) -> Path | None:
    """The folder for the figures of a page; None where none is asked for.

    Raises
    ------
    InputError
        It is a URL or a file.
    """
    return None if name is None else output_folder(name)


def named_frames(frames: Frames, camera: str | None) -> Dataset:
    """Open the frames without the camera's rule for darks, which would leave out science frames."""
    from emdarks.frames import frames_where, reads_extensions, select_frames

    named = arguments(frames)
    wanted = named.pop("where")
    dataset = select_frames(**named, extensions=reads_extensions(camera))
    return frames_where(dataset, wanted, camera) if wanted else dataset


def campaign_name(arguments: Sequence[str]) -> str:
    """The folder of the frames, where there is one."""
    folders = {str(Path(name) if Path(name).is_dir() else Path(name).parent) for name in arguments}
    return Path(folders.pop()).resolve().name if len(folders) == 1 else "frames"
