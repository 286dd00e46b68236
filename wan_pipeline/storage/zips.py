"""ZIP files from outside."""

from __future__ import annotations

import lzma
import zipfile
import zlib

DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # of another method of packing
    RuntimeError,  # it has a password
    UnicodeDecodeError,  # names of bad text
)
"""What reading a ZIP raises that is cut off, damaged, or packed in a way that Python does not know."""
