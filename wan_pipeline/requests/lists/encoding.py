"""The bytes of a list as text."""

from __future__ import annotations

import re
from contextlib import suppress

from wan_pipeline.errors import UserError

_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def decode(content: bytes, file: str) -> tuple[str, str]:
    """The text, and a warning or "". Raises UserError for bytes that are no text.

    UTF-8, or the UTF-16 that spreadsheets save as "Unicode text", or the Windows-1252 of Excel's plain CSV, which is
    only what is left, and so is reported.
    """
    encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with suppress(UnicodeDecodeError):
        return content.decode(encoding), ""
    text = None
    if encoding != "utf-16" and not _NO_TEXT.search(content):
        with suppress(UnicodeDecodeError):
            text = content.decode("cp1252")
    if text is None:
        raise UserError(f'{file} is not UTF-8 text; save it as "CSV UTF-8" and choose it again.')
    return text, f'{file} is not UTF-8 and was read as Windows-1252; if letters look wrong, save it as "CSV UTF-8".'
