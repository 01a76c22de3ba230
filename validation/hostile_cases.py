"""Kinds of bad input, each with what a run has to do: see `validation.hostile`."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from validation.hostile_campaign import BLOCK, COLS, FRAMES, ROWS, Place

__all__ = ["CASES", "Case"]

#: The frame that most cases spoil: of the largest stack, so that the others can do without it.
ONE = 20


@dataclass(frozen=True)
class Case:
    """One kind of bad input.

    Attributes
    ----------
    group, what : str
        For the table.
    make : callable
        Spoils a campaign.
    outcome : {"refused", "warned", "done", "usage"}
        What `emdarks noisemaps` has to do: exit 1 and write nothing; exit 0 and say so in a
        warning; exit 0 without a word; exit 2 and write nothing.
    words : str
        Pattern that its message matches.
    skipped : bool
        Whether ``--skip-bad-frames`` leaves the spoilt frames out; the product is then that of
        the other frames.
    same : bool
        Whether the product is that of the good campaign.
    """

    group: str
    what: str
    make: Callable[[Place], None]
    outcome: str
    words: str = ""
    skipped: bool = False
    same: bool = False

    @property
    def name(self) -> str:
        """Short, for tests."""
        return self.make.__name__


CASES: list[Case] = []


def _case(group: str, what: str, outcome: str, words: str = "", **more: bool) -> Any:
    def register(make: Callable[[Place], None]) -> Callable[[Place], None]:
        CASES.append(Case(group, what, make, outcome, words, **more))
        return make

    return register


def _bad_file(what: str, words: str = "cannot be read as FITS") -> Any:
    return _case("files", what, "refused", words, skipped=True)


# Files


@_bad_file("empty file", "empty")
def empty(p: Place) -> None:
    p.write(ONE, b"")


@_bad_file("text instead of FITS")
def text(p: Place) -> None:
    p.write(ONE, b"Not Found\n" * 400)


@_bad_file("random bytes")
def noise(p: Place) -> None:
    p.write(ONE, np.random.default_rng(3).bytes(20000))


@_bad_file("a single byte")
def one_byte(p: Place) -> None:
    p.write(ONE, b"S")


@_bad_file("cut off in the primary header")
def cut_in_primary(p: Place) -> None:
    p.cut(ONE, 1000)


@_bad_file("cut off after the primary HDU", "no image")
def cut_after_primary(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[1])


@_bad_file("cut off in the header of the image", "cut short|no image")
def cut_in_image_header(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[1] + 700)


@_bad_file("cut off in the pixels", "cut short, [0-9]+ bytes of pixels are missing")
def cut_in_pixels(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[2] - 3000)


@_bad_file("cut off after the image: ERR and DQ are gone", "has no (ERR|DQ)")
def cut_after_image(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[2])


@_bad_file("cut off after ERR: DQ is gone", "has no DQ")
def cut_after_err(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[3])


@_bad_file("cut off in the header of DQ", "cut short")
def cut_in_dq_header(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[3] + 100)


@_bad_file("cut off in the flags", "cut short")
def cut_in_flags(p: Place) -> None:
    p.cut(ONE, p.starts(ONE)[4] - BLOCK + 100)


@_case("files", "further bytes after the last HDU", "done", same=True)
def trailing(p: Place) -> None:
    p.write(ONE, p.frame(ONE).read_bytes() + b"\0" * 500)


@_bad_file("a broken link", "cannot be read")
def broken_link(p: Place) -> None:
    path = p.frame(ONE)
    path.unlink()
    path.symlink_to(p.folder / "nowhere.fits")


@_bad_file("a link to itself", "cannot be read")
def link_loop(p: Place) -> None:
    path = p.frame(ONE)
    path.unlink()
    path.symlink_to(path)


@_bad_file("a pipe", "no regular file")
def pipe(p: Place) -> None:
    path = p.frame(ONE)
    path.unlink()
    os.mkfifo(path)
    p.arguments = [str(frame) for frame in p.frames]


@_bad_file("a device", "no regular file")
def device(p: Place) -> None:
    path = p.frame(ONE)
    path.unlink()
    path.symlink_to("/dev/zero")
    p.arguments = [str(frame) for frame in p.frames]


@_bad_file("no permission to read", "Permission denied")
def unreadable(p: Place) -> None:
    path = p.frame(ONE)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    path.chmod(0)


@_bad_file("vanishes between header and pixels", "cannot be read")
def vanishes(p: Place) -> None:
    p.between = p.frame(ONE).unlink


@_bad_file("changes between header and pixels", "changed after its header was read")
def changes(p: Place) -> None:
    p.between = lambda: p.write(ONE, p.frame(ONE).read_bytes())
    p.frame(ONE)


@_bad_file("becomes shorter between header and pixels", "changed after its header was read")
def shrinks(p: Place) -> None:
    p.between = lambda: p.cut(ONE, 9000)
    p.frame(ONE)


def _unpadded_gzip(p: Place, change: Callable[[bytes], bytes]) -> None:
    path = p.frame(ONE)
    packed = change(gzip.compress(path.read_bytes(), mtime=0))
    p.bad.clear()
    path.unlink()
    path = path.with_name(path.name + ".gz")
    path.write_bytes(packed)
    p.bad.append(path)


@_case("files", "one frame compressed (gzip)", "done", same=True)
def gzipped(p: Place) -> None:
    _unpadded_gzip(p, lambda packed: packed)


@_bad_file("compressed and cut off")
def gzip_cut(p: Place) -> None:
    _unpadded_gzip(p, lambda packed: packed[: len(packed) // 2])


@_bad_file("compressed and damaged")
def gzip_damaged(p: Place) -> None:
    _unpadded_gzip(p, lambda packed: packed[:500] + b"\x55" * 9 + packed[509:])


@_bad_file("compressed, wrong checksum")
def gzip_checksum(p: Place) -> None:
    _unpadded_gzip(p, lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:])


@_bad_file("a small file that expands to 5 GB", "expand|header")
def gzip_bomb(p: Place) -> None:
    content = p.frame(ONE).read_bytes()
    _unpadded_gzip(p, lambda _: _bomb(content, 5 << 30))


def _bomb(start: bytes, size: int) -> bytes:
    """Gzip members of zeros, made once and repeated."""
    member = gzip.compress(bytes(1 << 26), mtime=0)
    return gzip.compress(start, mtime=0) + member * (size >> 26)


@_bad_file("a header that never ends", "header")
def endless_header(p: Place) -> None:
    start = p.frame(ONE).read_bytes()[:160]
    p.write(ONE, start + b"COMMENT no end".ljust(80) * (36 * 1000))


@_bad_file("a compressed header of 3 GB", "expand|header")
def header_bomb(p: Place) -> None:
    start = p.frame(ONE).read_bytes()[:160]
    card = gzip.compress(b"COMMENT no end".ljust(80) * (1 << 20), mtime=0)
    _unpadded_gzip(p, lambda _: gzip.compress(start, mtime=0) + card * 38)


@_bad_file("tile-compressed with a bad tile", "unpacked|read")
def bad_tile(p: Place) -> None:
    path = p.frame(ONE)
    with fits.open(path) as hdus:
        packed = fits.HDUList(
            [
                hdus[0].copy(),
                fits.CompImageHDU(hdus[1].data, hdus[1].header, compression_type="GZIP_1"),
                *(hdu.copy() for hdu in hdus[2:]),
            ]
        )
        path.unlink()
        packed.writeto(path)
    content = bytearray(path.read_bytes())
    start = p.starts(ONE)[2] - BLOCK
    content[start - 800 : start + 800] = b"\xff" * 1600
    p.write(ONE, bytes(content))


# Layout


def _bad_layout(what: str, words: str) -> Any:
    return _case("layout", what, "refused", words, skipped=True)


@_case("layout", "DQ before ERR", "done", same=True)
def swapped(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([h[0], h[1], h[3], h[2]]))


@_bad_layout("ERR before the image", "has ERR or DQ, but no image")
def err_first(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([h[0], h[2], h[1], h[3]]))


@_bad_layout("no ERR, the other frames have it", "has no ERR")
def no_err(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([h[0], h[1], h[3]]))


@_bad_layout("no DQ, the other frames have it", "has no DQ")
def no_dq(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([h[0], h[1], h[2]]))


@_case("layout", "no frame has ERR or DQ", "warned", "cosmic rays looked for")
def bare(p: Place) -> None:
    p.edit_all(lambda h: fits.HDUList([h[0], h[1]]))


@_bad_layout("two HDUs named ERR", "more than one HDU named ERR")
def two_err(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([*h, h[2].copy()]))


@_bad_layout("two HDUs named DQ", "more than one HDU named DQ")
def two_dq(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([*h, h[3].copy()]))


def _replaced(index: int, data: Any) -> Callable[[fits.HDUList], None]:
    def change(hdus: fits.HDUList) -> None:
        hdus[index].data = data

    return change


@_bad_layout("ERR of another shape", "ERR has shape")
def err_shape(p: Place) -> None:
    p.edit(ONE, _replaced(2, np.zeros((1, ROWS, COLS + 1), np.float32)))


@_bad_layout("DQ of another shape", "DQ has shape")
def dq_shape(p: Place) -> None:
    p.edit(ONE, _replaced(3, np.zeros((ROWS - 1, COLS), np.int16)))


@_bad_layout("a frame of another shape", "shape")
def frame_shape(p: Place) -> None:
    def change(hdus: fits.HDUList) -> None:
        hdus[1].data = hdus[1].data[:, :-4]
        hdus[2].data = hdus[2].data[:, :, :-4]
        hdus[3].data = hdus[3].data[:, :-4]

    p.edit(ONE, change)


@_case("layout", "an image of one axis", "warned", "no frame, since it has no image")
def one_axis(p: Place) -> None:
    p.edit(ONE, lambda h: fits.HDUList([h[0], fits.ImageHDU(np.zeros(99), h[1].header)]))


@_bad_layout("an image without pixels", "shape|damaged|cannot be read")
def no_pixels(p: Place) -> None:
    p.card(ONE, "NAXIS1", "0")


@_bad_layout("an image of complex type (BITPIX 7)", "damaged|cannot be read")
def bitpix(p: Place) -> None:
    p.card(ONE, "BITPIX", "7")


@_bad_layout("a negative size", "cannot be read|damaged")
def negative_size(p: Place) -> None:
    p.card(ONE, "NAXIS2", "-23")


@_bad_layout("a size beyond all files", "cannot be read|cut short|damaged|more than")
def enormous(p: Place) -> None:
    p.card(ONE, "NAXIS2", "99999999999")


@_bad_layout("NAXIS that contradicts the pixels", "cut short|damaged|cannot be read|shape")
def wrong_naxis(p: Place) -> None:
    p.card(ONE, "NAXIS", "3")


@_bad_layout("flags that are real numbers", "floating-point")
def float_dq(p: Place) -> None:
    p.edit(ONE, _replaced(3, np.zeros((ROWS, COLS), np.float32)))


@_bad_layout("scaled flags", "scaled")
def scaled_dq(p: Place) -> None:
    p.card(ONE, "BSCALE", "2.0", hdu=3)


@_case("layout", "pixels of other types: integers, double precision", "done")
def other_types(p: Place) -> None:
    p.edit(ONE, lambda h: _replaced(1, h[1].data.astype(np.int32))(h))
    p.edit(ONE + 1, lambda h: _replaced(1, h[1].data.astype(np.float64))(h))


@_case("layout", "pixels stored with BSCALE and BZERO", "done")
def scaled_pixels(p: Place) -> None:
    p.edit(ONE, _scaled)


def _scaled(hdus: fits.HDUList) -> None:
    stored = np.round(hdus[1].data / 0.5 - 100).astype(np.int32)
    hdus[1].data = stored
    hdus[1].header["BSCALE"], hdus[1].header["BZERO"] = 0.5, 50.0


@_bad_layout("BSCALE that is no number", "make no numbers")
def bscale_nan(p: Place) -> None:
    p.card(ONE, "BSCALE", "'NaN'")


@_bad_layout("BSCALE of 0: every pixel the same", "BSCALE")
def bscale_zero(p: Place) -> None:
    p.card(ONE, "BSCALE", "0.0")


# Headers


def _bad_header(what: str, words: str) -> Any:
    return _case("headers", what, "refused", words, skipped=True)


@_bad_header("no exposure time", "has no EXPTIME")
def no_time(p: Place) -> None:
    p.card(ONE, "EXPTIME", None)


@_bad_header("no EM gain", "has no EMGAIN_C")
def no_gain(p: Place) -> None:
    p.card(ONE, "EMGAIN_C", None)


@_bad_header("no k-gain", "has no KGAINPAR")
def no_k_gain(p: Place) -> None:
    p.card(ONE, "KGAINPAR", None)


@_bad_header("an exposure time in words", "EXPTIME is 'long'")
def time_in_words(p: Place) -> None:
    p.card(ONE, "EXPTIME", "'long'")


@_bad_header("EM gain as a text", "EMGAIN_C is '2000'")
def gain_as_text(p: Place) -> None:
    p.card(ONE, "EMGAIN_C", "'2000'")


@_bad_header("NaN as exposure time", "EXPTIME is")
def time_nan(p: Place) -> None:
    p.card(ONE, "EXPTIME", "NaN")


@_bad_header("an infinite EM gain", "EMGAIN_C is")
def gain_infinite(p: Place) -> None:
    p.card(ONE, "EMGAIN_C", "1E999")


@_bad_header("a logical value as EM gain", "EMGAIN_C is")
def gain_logical(p: Place) -> None:
    p.card(ONE, "EMGAIN_C", "T")


@_bad_header("a negative exposure time", "exposure time -80 s is negative")
def time_negative(p: Place) -> None:
    p.card(ONE, "EXPTIME", "-80.0")


@_bad_header("an EM gain below 1", "EM gain 0.5 is below 1")
def gain_below_one(p: Place) -> None:
    p.card(ONE, "EMGAIN_C", "0.5")


@_bad_header("a k-gain of 0", "k-gain 0 is not positive")
def k_gain_zero(p: Place) -> None:
    p.card(ONE, "KGAINPAR", "0.0")


@_case("headers", "exposure times 60.0 and 60.0001 s", "warned", "60.0001 s and 60 s|60 s and 60.0")
def times_nearly_equal(p: Place) -> None:
    p.card(7, "EXPTIME", "60.0001")


@_case("headers", "another k-gain in one frame", "refused", "k-gain")
def other_k_gain(p: Place) -> None:
    p.card(ONE, "KGAINPAR", "9.1")


@_bad_header("a measured gain 20 % off", "EM gain 2400 .*spread by")
def gain_off(p: Place) -> None:
    p.card(ONE, "EMGAIN_A", "2400.0")
    for number in (18, 19, 21, 22, 23):
        p.card(number, "EMGAIN_A", "2000.0")
    p.bad[:] = [p.frame(ONE)]


@_case("headers", "measured gains that differ by 1 %", "warned", "spread by 1")
def gain_spread(p: Place) -> None:
    p.card(ONE, "EMGAIN_A", "2020.0")


@_bad_header("a frame that is no dark", "no dark")
def not_dark(p: Place) -> None:
    p.arguments = [str(frame) for frame in p.frames]
    camera = p.folder / "camera.toml"
    rule = '\n[darks]\nkeyword = "VISTYPE"\nvalues = ["CGIVST_CAL_DRK"]\n'
    content = camera.read_text() + rule
    camera.unlink()
    camera.write_text(content)
    p.card(ONE, "VISTYPE", "'CGIVST_TDD_OBS'", hdu=0)


@_bad_header("a frame of another camera", "camera")
def other_camera(p: Place) -> None:
    p.edit_all(lambda h: h[1].header.update(CAMERA="excam-small"))
    p.edit(ONE, lambda h: h[1].header.update(CAMERA="ixon-897"))


@_case("headers", "frames divided by the EM gain", "refused", "already divided by the EM gain")
def divided(p: Place) -> None:
    p.edit_all(lambda h: h[1].header.update(BUNIT="detected electron"))


@_case("headers", "a unit that nobody knows", "warned", "1 frame has the unit .*noise maps take")
def unknown_unit(p: Place) -> None:
    p.card(ONE, "BUNIT", "'furlong'")


@_case("headers", "bytes that are no ASCII", "done", same=True)
def not_ascii(p: Place) -> None:
    content = p.frame(ONE).read_bytes()
    at = content.find(b"DATALVL ")
    p.write(ONE, content[:at] + "COMMENT ü ∞".encode().ljust(80) + content[at + 80 :])


@_case("headers", "FILENAME that leads out of the folder", "done", same=True)
def evil_name(p: Place) -> None:
    p.edit_all(lambda h: h[0].header.update(FILENAME="../../evil.fits"))
    p.output = "."


@_case("headers", "a temperature 20 degrees off", "warned", "off the temperature")
def warm(p: Place) -> None:
    p.card(ONE, "EXCAMT", "-68.0")


# Pixels


def _pixels(change: Callable[[Any, Any, Any], None], dtype: Any = None) -> Callable[..., None]:
    def edit(hdus: fits.HDUList) -> None:
        data, err, dq = (np.array(hdu.data) for hdu in hdus[1:4])
        if dtype is not None:
            data = data.astype(dtype)
        change(data, err, dq)
        hdus[1].data, hdus[2].data, hdus[3].data = data, err, dq

    return edit


def _put(value: float, plane: int = 0, dtype: Any = None) -> Callable[[fits.HDUList], None]:
    def change(*planes: Any) -> None:
        planes[plane][..., 5, 25] = value

    return _pixels(change, dtype)


@_case("pixels", "NaN in one pixel", "warned", "1 sample in 1 frame not")
def nan_pixel(p: Place) -> None:
    p.edit(ONE, _put(np.nan))


@_case("pixels", "infinite in one pixel", "warned", "1 sample in 1 frame not")
def inf_pixel(p: Place) -> None:
    p.edit(ONE, _put(-np.inf))


@_case("pixels", "NaN and infinite errors", "warned", "2 samples in 2 frames not")
def nan_err(p: Place) -> None:
    p.edit(ONE, _put(np.nan, 1))
    p.edit(ONE + 1, _put(np.inf, 1))


@_case("pixels", "a negative error", "warned", "1 sample in 1 frame not")
def negative_err(p: Place) -> None:
    p.edit(ONE, _put(-5.0, 1))


@_case("pixels", "a frame of NaN only", "warned", "no good pixel")
def nan_frame(p: Place) -> None:
    p.edit(ONE, _pixels(lambda data, err, dq: data.fill(np.nan)))


@_case("pixels", "a pixel of 1e30", "warned", "1 sample in 1 frame not")
def huge(p: Place) -> None:
    p.edit(ONE, _put(1e30))


@_case("pixels", "a pixel of 1e200 (double precision)", "warned", "1 sample in 1 frame not")
def astronomic(p: Place) -> None:
    p.edit(ONE, _put(1e200, dtype=np.float64))


@_case("pixels", "an error of 1e30", "warned", "1 sample in 1 frame not")
def huge_err(p: Place) -> None:
    p.edit(ONE, _put(1e30, 1))


@_case("pixels", "flags that nobody knows", "done")
def unknown_flags(p: Place) -> None:
    p.edit(ONE, _put(1 << 14, 2))


def _copy(p: Place, source: int, target: int) -> None:
    path = p.folder / "frames" / f"frame_{source:02d}.fits"
    p.write(target, path.read_bytes())


@_case("pixels", "a copy of a frame under another name", "refused", "same pixels", skipped=True)
def copied(p: Place) -> None:
    _copy(p, 18, ONE)


@_case("pixels", "the pixels of a frame of another setting", "refused", "same pixels")
def copied_pixels(p: Place) -> None:
    def pixels(number: int) -> Any:
        return fits.getdata(p.folder / "frames" / f"frame_{number:02d}.fits", 1)

    p.edit(ONE, _replaced(1, pixels(3)))


@_case("pixels", "constant frame among others", "refused", "no noise", skipped=True)
def constant(p: Place) -> None:
    p.edit(ONE, _pixels(lambda data, err, dq: data.fill(100.0)))


@_case("pixels", "all frames constant: no scatter at all", "refused", "no noise")
def all_constant(p: Place) -> None:
    p.edit_all(_pixels(lambda data, err, dq: data.fill(3.0)))


@_case("pixels", "all frames zero", "refused", "no noise")
def all_zero(p: Place) -> None:
    p.edit_all(_pixels(lambda data, err, dq: data.fill(0.0)))


@_case("pixels", "a stack without scatter from frame to frame", "refused", "same pixels")
def zero_scatter(p: Place) -> None:
    for number in range(19, 24):
        _copy(p, 18, number)
    p.bad.clear()


def _stack(p: Place, change: Callable[..., None], numbers: Any = range(18, 24)) -> None:
    for number in numbers:
        p.edit(number, _pixels(change))
    p.bad.clear()


@_case("pixels", "a saturated stack, flagged", "warned", "no good pixel")
def saturated(p: Place) -> None:
    _stack(p, lambda data, err, dq: dq.__setitem__(..., dq | 32))


@_case("pixels", "a stack cut off at the full scale, not flagged", "warned", "they are cut off")
def clipped(p: Place) -> None:
    _stack(p, lambda data, err, dq: np.minimum(data, 100.0, out=data))


@_case("pixels", "a region masked in every frame", "warned", "will have no value")
def masked_region(p: Place) -> None:
    _stack(p, lambda data, err, dq: dq.__setitem__(np.s_[4:9, 20:30], 4), range(FRAMES))


@_case("pixels", "the prescan masked in every frame", "done")
def masked_prescan(p: Place) -> None:
    _stack(p, lambda data, err, dq: dq.__setitem__(np.s_[:, :16], 4), range(FRAMES))


@_case("pixels", "the imaging area masked in every frame", "warned", "24 frames have no good pixel")
def masked_image(p: Place) -> None:
    _stack(p, lambda data, err, dq: dq.__setitem__(np.s_[:, 16:], 4), range(FRAMES))


@_case("pixels", "every pixel masked", "refused", "is good|no good pixel")
def all_masked(p: Place) -> None:
    _stack(p, lambda data, err, dq: dq.fill(4), range(FRAMES))


@_case("pixels", "a stack of one frame", "warned", "nothing tells the noise")
def lone_frame(p: Place) -> None:
    for number in range(19, 24):
        p.frame(number).unlink()
    p.bad.clear()


@_case("pixels", "all stacks of one frame", "refused", "single frame")
def lone_frames(p: Place) -> None:
    for number in set(range(FRAMES)) - {0, 5, 9, 14, 18}:
        p.frame(number).unlink()
    p.bad.clear()


@_case("pixels", "stacks of two frames", "done")
def pairs(p: Place) -> None:
    for number in set(range(FRAMES)) - {0, 1, 5, 6, 9, 10, 14, 15, 18, 19}:
        p.frame(number).unlink()
    p.bad.clear()


# Names and arguments


def _rename(p: Place, number: int, name: str) -> Path:
    path = p.frame(number)
    p.bad.clear()
    return path.rename(path.with_name(name))


@_case("names", "spaces, letters beyond ASCII, brackets, a leading hyphen", "done")
def strange_names(p: Place) -> None:
    names = ("a b.fits", "Straße_ü_暗.fits", "x[1].fits", "-o.fits", 'it\'s "q" $HOME;.fits')
    for number, name in enumerate(names):
        _rename(p, number, name)
    p.output = "Karte ü.fits"


@_case("names", "a name that is no text (bytes)", "done")
def byte_name(p: Place) -> None:
    path = p.frame(ONE)
    p.bad.clear()
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/fr\xff\xfeame.fits"))


@_case("names", "a name with a line break", "done")
def line_break(p: Place) -> None:
    _rename(p, ONE, "fra\nme.fits")


@_case("names", "a name of 250 letters, that the output takes up", "refused", "[Nn]ame too long")
def long_name(p: Place) -> None:
    _rename(p, 23, "x" * 245 + ".fits")
    p.output = "."


@_case("names", "a folder named like a frame", "done", same=True)
def folder_named_fits(p: Place) -> None:
    (p.folder / "frames" / "more.fits").mkdir()


@_case("arguments", "frames named twice: through `..` and through a link", "done", same=True)
def twice(p: Place) -> None:
    (p.folder / "link").symlink_to(p.folder / "frames")
    p.arguments += [str(p.folder / "link"), str(p.folder / "frames" / ".." / "frames")]


@_case("arguments", "a list that names itself", "refused", "names itself")
def recursive_list(p: Place) -> None:
    listed = p.folder / "list.txt"
    listed.write_text(f"frames\n@{listed}\n")
    p.arguments = [f"@{listed}"]


@_case("arguments", "a list that is no text", "refused", "cannot be read as a list")
def binary_list(p: Place) -> None:
    (p.folder / "list.txt").write_bytes(b"\xff\xfe\0\1" * 99)
    p.arguments = [f"@{p.folder / 'list.txt'}"]


@_case("arguments", "no such file", "refused", "no such file or folder")
def missing(p: Place) -> None:
    p.arguments.append(str(p.folder / "gone.fits"))


@_case("arguments", "an empty folder", "refused", "holds no FITS file")
def empty_folder(p: Place) -> None:
    (p.folder / "none").mkdir()
    p.arguments = [str(p.folder / "none")]


@_case("arguments", "a product named as a frame", "refused", "is no frame")
def product(p: Place) -> None:
    path = p.folder / "old_maps.fits"
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((3, ROWS, COLS), np.float32))]
    hdus[1].header["DATATYPE"] = "DetectorNoiseMaps"
    fits.HDUList(hdus).writeto(path)
    p.arguments.append(str(path))


@_case("arguments", "the output is one of the frames", "refused", "is one of the frames")
def output_is_input(p: Place) -> None:
    p.output = "frames/frame_03.fits"
    p.options = ["--overwrite"]


@_case("arguments", "the output exists", "refused", "exists")
def output_exists(p: Place) -> None:
    (p.folder / "maps.fits").write_text("earlier")


@_case("arguments", "the folder of the output does not exist", "refused", "no such folder")
def no_folder(p: Place) -> None:
    p.output = "new/maps.fits"


@_case("arguments", "`-o new/`: a folder that does not exist", "usage", "no such folder")
def no_folder_slash(p: Place) -> None:
    p.output = "new/"


@_case("arguments", "more than a tenth of the frames is bad", "refused", "is empty")
def many_bad(p: Place) -> None:
    for number in (0, 5, 9):
        p.write(number, b"")
