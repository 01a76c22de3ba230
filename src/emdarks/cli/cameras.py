"""Commands about cameras: which there are, what they say, how they read a frame."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import argument, group, option
from emdarks.cli.options import AS_JSON
from emdarks.cli.output_files import output_file

if TYPE_CHECKING:
    from emdarks.cameras import Camera, Explained

#: Lines of a new camera file that explain it.
_HEAD = 3


@group
class Request:
    """A camera, and what is wanted of it."""

    camera: str | None = argument(None, "Built-in camera or camera file (TOML).", metavar="CAMERA")
    frame: str | None = argument(None, "A frame whose header is to be read by it.", metavar="FRAME")
    show: bool = option(False, "Print the camera file, to start one's own from.")
    new: bool = option(
        False, "Write CAMERA.toml, a camera file to start from, made of FRAME's header."
    )
    as_json: bool = AS_JSON

    def __post_init__(self) -> None:
        """Refuse options that do not go together."""
        if self.new and (self.show or self.camera is None or self.frame is None):
            raise typer.BadParameter(
                "--new takes a name and a frame: emdarks cameras --new NAME FRAME"
            )
        if self.frame is not None and self.show:
            raise typer.BadParameter("--show prints a camera file; it takes no frame")
        if self.camera is None and self.show:
            raise typer.BadParameter("--show needs a camera")


def cameras(*, request: Request) -> None:
    """List the built-in cameras; check a camera file, and how it understands a frame.

    Exit 1 where the file is wrong, or frames like this one could not be used.
    Example: emdarks cameras
    Example: emdarks cameras shoc
    Example: emdarks cameras sparc4 --show
    Example: emdarks cameras --new lab dark.fits
    """
    from emdarks.cameras import load_camera

    camera, frame, as_json = request.camera, request.frame, request.as_json
    if camera is None:
        _list(as_json)
    elif request.new and frame is not None:
        _new(camera, frame, as_json)
    elif request.show:
        _show(camera, as_json)
    elif frame is None:
        console.result(_summary(load_camera(camera)), as_json)
    elif not _explain(load_camera(camera), frame, as_json):
        raise typer.Exit(1)


def _list(as_json: bool) -> None:
    from emdarks.cameras import BUILTIN, load_camera

    known = [load_camera(name) for name in BUILTIN]
    if as_json:
        console.json_out({"cameras": [_summary(camera) for camera in known]})
        return
    from emdarks.cli.tables import cameras_table

    console.show(cameras_table(known))


def _show(name: str, as_json: bool) -> None:
    from emdarks.cameras import camera_text, load_camera

    chosen = load_camera(name)
    if as_json:
        units = {spelling: unit.value for spelling, unit in chosen.units.items()}
        console.json_out(asdict(chosen) | {"units": units})
    else:
        typer.echo(camera_text(name), nl=False)


def _new(name: str, frame: str, as_json: bool) -> None:
    """Write a camera file to start from; one that is there is never replaced."""
    from emdarks.cameras import BUILTIN, load_camera
    from emdarks.cameras.template import MARK, NewFrame, new_camera_text
    from emdarks.errors import InputError
    from emdarks.fits import whole_file
    from emdarks.frames import Dataset

    path = Path(name if name.endswith(".toml") else f"{name}.toml")
    if path.stem in BUILTIN or not path.stem.strip():
        raise InputError(f"{name}: is the name of a built-in camera; choose another")
    if path.exists():
        raise InputError(f"{path}: exists; choose another name")
    target = output_file(path, path.name, overwrite=False)
    first = Dataset([frame])[0]
    layout = first.layout
    text = new_camera_text(
        path.stem,
        NewFrame(
            name=Path(frame).name,
            shape=layout.shape,
            cube=len(layout.image.shape) > 2,
            floating=layout.image.dtype[1] == "f",
            err_and_dq=layout.err is not None and layout.dq is not None,
            headers=(first.cards("ext"), first.cards("pri")),
        ),
    )
    with whole_file(str(target)) as file:
        file.write(text.encode())
    made = load_camera(str(target))
    lines = [i for i, line in enumerate(text.splitlines(), 1) if MARK in line and i > _HEAD]
    console.result(
        {"camera_file": str(target), "camera": made.name, "lines_to_fill_in": lines}, as_json
    )
    if not as_json:
        console.say(f"fill in these lines; then: emdarks cameras {target} {frame}")


def _explain(camera: Camera, frame: str, as_json: bool) -> bool:
    """Say how a camera reads a frame; whether such frames can be used."""
    lines, shape = _read(camera, frame)
    if as_json:
        found = [line._asdict() for line in lines]
        console.json_out({"camera": camera.name, "frame": frame, "read": found})
    else:
        from emdarks.cli.tables import explained_table

        rows, cols = shape
        console.say(f"{frame}: {rows} x {cols} pixels, read by camera {camera.name}")
        console.show(explained_table(lines))
    wrong = [line for line in lines if not line.fine]
    if wrong:
        console.finding("problem", f"{wrong[0].quantity}: {wrong[0].source}")
    return not wrong


def _read(camera: Camera, path: str) -> tuple[list[Explained], tuple[int, int]]:
    """What the camera makes of the first frame of a file, and its shape."""
    from emdarks.cameras import Explained, explain
    from emdarks.detector import frame_shape
    from emdarks.frames import Dataset, reads_extensions

    frames = Dataset([path], extensions=reads_extensions(camera))
    first = frames[0]
    layout = first.layout
    headers = first.cards("ext"), first.cards("pri")
    lines = [_layout_line(len(frames), layout)]
    rows, cols = layout.shape
    fitted = camera.fitted_to(layout.shape)
    expected = frame_shape(fitted.arrtype, fitted.regions)
    fits = expected == layout.shape
    size = "as the camera's" if fits else f"the camera's have {expected[0]} x {expected[1]}"
    if fitted is not camera:
        size = "a window, or binned"
    lines.append(Explained("shape", f"{rows} x {cols}", size, fits))
    return [*lines, *explain(camera, path, headers)], layout.shape


def _layout_line(count: int, layout: Any) -> Explained:
    from emdarks.cameras import Explained

    planes = [
        str(plane.cards.get("EXTNAME", usual)).strip()
        for plane, usual in ((layout.err, "ERR"), (layout.dq, "DQ"))
        if plane is not None
    ]
    files = "one frame" if count == 1 else f"a cube of {count} frames"
    if layout.extension:
        files = f"{count} {'frame' if count == 1 else 'frames'} in extensions"
    number = layout.image.hdu
    facts = [f"HDU {number}" if number else "the primary HDU"]
    facts += [f"with {' and '.join(planes)}"] if planes else []
    if layout.unread:
        facts.append(f"not read: {', '.join(str(image) for image in layout.unread)}")
    return Explained("file", files, ", ".join(facts))


def _summary(camera: Camera) -> dict[str, Any]:
    """A camera in a few words."""
    from emdarks.detector import frame_shape

    rows, cols = frame_shape(camera.arrtype, camera.regions)
    return {
        "camera": camera.name,
        "description": camera.description,
        "rows": rows,
        "columns": cols,
        "layout": camera.frames.layout,
        "windows": camera.frames.windows,
        "sensitivity": ", ".join(camera.sensitivity),
        "modes": len(camera.modes),
        "settings": ", ".join(camera.settings) or "none",
    }
