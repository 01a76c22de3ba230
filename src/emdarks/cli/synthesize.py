"""The command that makes a master dark from noise maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from emdarks.cli import console
from emdarks.cli.command import REQUIRED, argument, group, option
from emdarks.cli.dark import dark_values
from emdarks.cli.options import CAMERA, CLIPPED, FULL_FRAME, KGAIN, ProductOutput
from emdarks.cli.output_files import check_not_read, output_file

if TYPE_CHECKING:
    from emdarks.data import Dark, DetectorNoiseMaps


@group
class WantedDark:
    """The maps, and the dark that is made of them."""

    maps: str = argument(REQUIRED, "Noise maps (FITS), or their URL.", metavar="MAPS")
    like: str | None = option(
        None, "Frame whose gain and time the dark is for; a counted one: its threshold, too."
    )
    gain: float | None = option(None, "EM gain.")
    exptime: float | None = option(None, "Exposure time, s.")
    kgain: float | None = KGAIN
    full_frame: bool = FULL_FRAME
    clipped: bool = CLIPPED
    camera: str | None = CAMERA
    photon_counting: bool = option(False, "Photon-counted dark: as counts show the charge.")
    threshold: float | None = option(None, "Threshold of the counts, EM electrons.")
    read_noise: float | None = option(None, "Read noise, EM electrons; default: header, camera.")

    def __post_init__(self) -> None:
        """Refuse options that do not go together."""
        if self.like is not None and (self.gain is not None or self.exptime is not None):
            raise typer.BadParameter("--like takes gain and time from the frame")
        if self.like is None and (self.gain is None or self.exptime is None):
            raise typer.BadParameter("give either --like FRAME, or --gain and --exptime")
        if self.photon_counting and self.threshold is None:
            raise typer.BadParameter("--photon-counting needs --threshold")
        given = (self.threshold, self.read_noise)
        if not self.photon_counting and any(value is not None for value in given):
            raise typer.BadParameter("--threshold and --read-noise go with --photon-counting")


def synthesize(*, wanted: WantedDark, output: ProductOutput) -> None:
    """Make a master dark for any EM gain and exposure time from noise maps.

    Example: emdarks synthesize maps.fits -o dark.fits --gain 1000 --exptime 60
    """
    from emdarks.data import DetectorNoiseMaps
    from emdarks.products.header import product_name

    product = DetectorNoiseMaps(wanted.maps)
    name = product_name(product.filename, "_drk_cal")
    path = output_file(output.output, name, output.overwrite)
    check_not_read(path, (wanted.maps, wanted.like, wanted.camera))
    if wanted.like is not None:
        made = _like(product, wanted.like, wanted)
    else:
        made = _of_settings(product, wanted)
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
        threshold=wanted.threshold,
        read_noise=wanted.read_noise,
    )


def _of_settings(maps: DetectorNoiseMaps, wanted: WantedDark) -> Dark:
    """The dark of an EM gain and an exposure time."""
    section = None if wanted.full_frame else _image_section(maps, wanted)
    signed = not wanted.clipped
    assert wanted.gain is not None
    assert wanted.exptime is not None
    return maps.synthesize(
        wanted.gain,
        wanted.exptime,
        wanted.kgain,
        section,
        use_signed=signed,
        threshold=wanted.threshold,
        read_noise=wanted.read_noise,
    )


def _image_section(maps: DetectorNoiseMaps, wanted: WantedDark) -> Any:
    """Rows and columns of the image region in noise maps."""
    from emdarks.cameras import BUILTIN, camera_of_product, load_camera
    from emdarks.detector import frame_shape, region_slices
    from emdarks.errors import InputError

    shape = maps.data.shape[1:]
    chosen = camera_of_product(maps, wanted.camera) or load_camera(BUILTIN[0])
    chosen = chosen.fitted_to(shape)
    expected = frame_shape(chosen.arrtype, chosen.regions)
    if shape != expected:
        raise InputError(
            f"{wanted.maps}: has {shape[0]} x {shape[1]} pixels, "
            f"camera {chosen.name} {expected[0]} x {expected[1]}; give --camera"
        )
    return region_slices(chosen.arrtype, "image", chosen.regions)
