"""The command that makes a master dark from noise maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emdarks.cli import console
from emdarks.cli.dark import dark_values
from emdarks.cli.options import CameraName, Clipped, FullFrame, KGain, ProductOutput

if TYPE_CHECKING:
    from emdarks.data import Dark, DetectorNoiseMaps

__all__ = ["synthesize"]


@dataclass(frozen=True, kw_only=True)
class WantedDark:
    """EM gain and exposure time of the dark, and what of it is wanted."""

    like: Annotated[
        str | None, typer.Option("--like", help="Frame whose gain and time the dark is for.")
    ] = None
    gain: Annotated[float | None, typer.Option("--gain", help="EM gain.")] = None
    exptime: Annotated[float | None, typer.Option("--exptime", help="Exposure time, s.")] = None
    kgain: KGain = None
    full_frame: FullFrame = False
    clipped: Clipped = False
    camera: CameraName = None

    def __post_init__(self) -> None:
        """Refuse options that do not go together."""
        if self.like is not None and (self.gain is not None or self.exptime is not None):
            raise typer.BadParameter("--like takes gain and time from the frame")
        if self.like is None and (self.gain is None or self.exptime is None):
            raise typer.BadParameter("give either --like FRAME, or --gain and --exptime")


def synthesize(
    *,
    maps: Annotated[str, typer.Argument(metavar="MAPS", help="Noise maps (FITS), or their URL.")],
    wanted: WantedDark,
    output: ProductOutput,
) -> None:
    """Make a master dark for any EM gain and exposure time from noise maps.

    Example: emdarks synthesize maps.fits -o dark.fits --gain 1000 --exptime 60
    """
    from emdarks.data import DetectorNoiseMaps
    from emdarks.products.header import product_name

    product = DetectorNoiseMaps(maps)
    name = product_name(product.filename, "_drk_cal")
    path = console.target(output.output, name, output.overwrite)
    console.spare_files(path, (maps, wanted.like, wanted.camera))
    if wanted.like is not None:
        made = _like(product, wanted.like, wanted)
    else:
        made = _of_settings(product, maps, wanted)
    made.save(path.parent, path.name)
    console.result(dark_values(made, path), output.as_json)


def _like(maps: DetectorNoiseMaps, frame: str, wanted: WantedDark) -> Dark:
    """The dark of a frame."""
    from emdarks.darks import build_synthesized_dark
    from emdarks.frames import reads_extensions, select_frames

    return build_synthesized_dark(
        select_frames([frame], extensions=reads_extensions(wanted.camera)),
        maps,
        full_frame=wanted.full_frame,
        use_signed=not wanted.clipped,
        camera=wanted.camera,
        kgain=wanted.kgain,
    )


def _of_settings(maps: DetectorNoiseMaps, name: str, wanted: WantedDark) -> Dark:
    """The dark of an EM gain and an exposure time."""
    section = None if wanted.full_frame else _image_section(maps, name, wanted.camera)
    signed = not wanted.clipped
    assert wanted.gain is not None
    assert wanted.exptime is not None
    return maps.synthesize(wanted.gain, wanted.exptime, wanted.kgain, section, use_signed=signed)


def _image_section(maps: DetectorNoiseMaps, name: str, camera: str | None) -> Any:
    """Rows and columns of the image region in noise maps."""
    from emdarks.cameras import BUILTIN, camera_of_product, load_camera
    from emdarks.detector import frame_shape, region_slices
    from emdarks.errors import InputError

    shape = maps.data.shape[1:]
    chosen = camera_of_product(maps, camera) or load_camera(BUILTIN[0])
    chosen = chosen.fitted_to(shape)
    expected = frame_shape(chosen.arrtype, chosen.regions)
    if shape != expected:
        raise InputError(
            f"{name}: has {shape[0]} x {shape[1]} pixels, "
            f"camera {chosen.name} {expected[0]} x {expected[1]}; give --camera"
        )
    return region_slices(chosen.arrtype, "image", chosen.regions)
