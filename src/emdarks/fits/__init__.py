"""FITS, through astropy: the only place that opens, lays out and writes files.

`cards` keeps headers small, `layout` finds where the pixels of a frame lie,
`roles` tells which HDU is what, `tables` makes tables, `write` makes files appear whole or
not at all, `remote` reads and writes at URLs. `fits` is astropy's, once it is used.
"""

from emdarks.fits import astropy_fits as fits
from emdarks.fits.hdu_roles import UnreadImage
from emdarks.fits.header import Cards
from emdarks.fits.layout import FileLayout, PlaneLayout, read_plane, scan_file
from emdarks.fits.remote import PART, RemoteFile, is_url, join, list_files, local_path, shown
from emdarks.fits.scan import Scanner
from emdarks.fits.tables import ascii_text, copied, packed, table_hdu, unpacked
from emdarks.fits.write import (
    from_bytes,
    image_hdu,
    state_shape,
    to_bytes,
    whole_file,
    write_whole,
)

__all__ = [
    "PART",
    "Cards",
    "FileLayout",
    "PlaneLayout",
    "RemoteFile",
    "Scanner",
    "UnreadImage",
    "ascii_text",
    "copied",
    "fits",
    "from_bytes",
    "image_hdu",
    "is_url",
    "join",
    "list_files",
    "local_path",
    "packed",
    "read_plane",
    "scan_file",
    "shown",
    "state_shape",
    "table_hdu",
    "to_bytes",
    "unpacked",
    "whole_file",
    "write_whole",
]
