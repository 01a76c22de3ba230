"""Commands about cameras: which there are, what they say, how they read a frame."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emdarks.cli import talk
from emdarks.cli.options import AsJson

if TYPE_CHECKING:
    from emdarks.cameras import Camera, Explained

__all__ = ["app"]

app = typer.Typer(
    name="cameras",
    help="List the built-in cameras, show one, or check a camera file and how it reads a frame.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[
    str,
    typer.Argument(
        metavar="CAMERA", help="Built-in camera or camera file (TOML).", show_default=False
    ),
]


@app.callback(invoke_without_command=True)
def cameras(context: typer.Context, as_json: AsJson = False) -> None:
    """List the built-in cameras, show one, or check a camera file and how it reads a frame.

    Examples: emdarks cameras; emdarks cameras show sparc4 > mine.toml;
    emdarks cameras check mine.toml frame.fits
    """
    if context.invoked_subcommand is not None:
        return
    with talk.spoken():
        from emdarks.cameras import BUILTIN, load_camera

        known = [load_camera(name) for name in BUILTIN]
        if as_json:
            talk.json_out({"cameras": [_summary(camera) for camera in known]})
            return
        from emdarks.cli.tables import cameras_table

        talk.people.print(cameras_table(known), soft_wrap=False)


@app.command()
def show(camera: Name, as_json: AsJson = False) -> None:
    """Print a camera file, to read or to start one's own from.

    Example: emdarks cameras show sparc4 > mine.toml
    """
    with talk.spoken():
        from emdarks.cameras import camera_text, load_camera

        chosen = load_camera(camera)
        if as_json:
            units = {spelling: unit.value for spelling, unit in chosen.units.items()}
            talk.json_out(asdict(chosen) | {"units": units})
        else:
            typer.echo(camera_text(camera), nl=False)


@app.command()
def check(
    camera: Name,
    frame: Annotated[
        str | None,
        typer.Argument(metavar="FRAME", help="A frame whose header is to be read by it."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a camera file; say how it understands the header of a frame.

    Exit 1 where the file is wrong, or frames like this one could not be used.
    Example: emdarks cameras check mine.toml dark_001.fits
    """
    with talk.spoken():
        from emdarks.cameras import load_camera

        chosen = load_camera(camera)
        if frame is None:
            talk.result(_summary(chosen), as_json)
            return
        lines, shape = _read(chosen, frame)
        if as_json:
            found = [line._asdict() for line in lines]
            talk.json_out({"camera": chosen.name, "frame": frame, "read": found})
        else:
            from emdarks.cli.tables import explained_table

            rows, cols = shape
            talk.say(f"{frame}: {rows} x {cols} pixels, read by camera {chosen.name}")
            talk.people.print(explained_table(lines), soft_wrap=False)
        wrong = [line for line in lines if not line.fine]
        if wrong:
            talk.finding("problem", f"{wrong[0].quantity}: {wrong[0].source}")
            raise typer.Exit(1)


def _read(camera: Camera, path: str) -> tuple[list[Explained], tuple[int, int]]:
    """What the camera makes of the first frame of a file, and its shape."""
    from emdarks.cameras import Explained
    from emdarks.detector import frame_shape
    from emdarks.frames import Dataset

    frames = Dataset([path])
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
    return [*lines, *camera.explain(path, headers)], layout.shape


def _layout_line(count: int, layout: Any) -> Explained:
    from emdarks.cameras import Explained

    planes = [name for name in ("err", "dq") if getattr(layout, name) is not None]
    files = "one frame" if count == 1 else f"a cube of {count} frames"
    return Explained("file", files, f"with {' and '.join(planes).upper()}" if planes else "")


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
