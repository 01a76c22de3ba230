"""FITS, through astropy: the only place that opens, lays out and writes files.

`cards` keeps headers small, `layout` finds where the pixels of a frame lie,
`roles` tells which HDU is what, `tables` makes tables, `write` makes files appear whole or
not at all, `remote` reads and writes at URLs. `fits` is astropy's, once it is used.
"""

from emdarks.fitsio import fits
from emdarks.fitsio.cards import Cards
from emdarks.fitsio.layout import FileLayout, PlaneLayout, read_plane, scan_file
from emdarks.fitsio.remote import RemoteFile, is_url, join, list_files, local_path, shown
from emdarks.fitsio.roles import UnreadImage
from emdarks.fitsio.scan import Scanner
from emdarks.fitsio.tables import ascii_text, copied, table_hdu
from emdarks.fitsio.write import (
    PART,
    from_bytes,
    image_hdu,
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
    "read_plane",
    "scan_file",
    "shown",
    "table_hdu",
    "to_bytes",
    "whole_file",
    "write_whole",
]
