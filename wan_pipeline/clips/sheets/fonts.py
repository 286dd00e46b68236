"""Fonts for the letters of a sheet: Pillow's own, else one of this machine's that has them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
PREFERRED = (
    *("NotoSans-Regular", "DejaVuSans", "LiberationSans-Regular", "NotoSansCJK-Regular", "NotoSansCJKjp-Regular"),
    *("arial", "segoeui", "msyh", "YuGothR", "malgun", "Nirmala", "Arial Unicode", "PingFang", "Hiragino Sans GB"),
)
"""Plain faces of the systems' usual fonts, tried first: Latin, Greek and Cyrillic, then the scripts of Asia."""
_MISSING_GLYPH = "\U0010ffff"
"""A letter that no font has: a font draws its missing glyph for it, as for every letter that it lacks."""
_REMEMBERED = 256
"""Sets of letters whose font is cached: the captions of a sheet share most of theirs."""
_CHECKED = 48
"""Height at which two letters are told apart."""


def font(size: int, text: str = "") -> Font:
    """Pillow's own font, so that a sheet looks the same on every machine; for letters that it lacks another one."""
    path = _path_for(_beyond_latin(text))
    return ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)


def drawable(text: str) -> str:
    """The text with a "?" for each letter that no font of this machine has."""
    missing = _missing_in(_path_for(_beyond_latin(text)), _beyond_latin(text))
    return "".join("?" if letter in missing else letter for letter in text)


def letters_note(texts: Iterable[str]) -> tuple[str, ...]:
    """A sentence about letters that cannot be drawn; none if all can be."""
    missing = {letter for text in texts for letter in _missing_in(_path_for(_beyond_latin(text)), _beyond_latin(text))}
    if not missing:
        return ()
    shown = "".join(sorted(missing)[:12])
    return (f"No font of this machine has the letters {shown}; they are drawn as '?': install one, such as Noto Sans.",)


def _beyond_latin(text: str) -> str:
    """The letters of a text that Pillow's own font may lack, each once."""
    return "".join(sorted({letter for letter in text if ord(letter) > 0x7E and letter.isprintable()}))


@lru_cache(_REMEMBERED)
def _path_for(letters: str) -> Path | None:
    """The font that has all of the letters, or the most of them; None for Pillow's own."""
    best: Path | None = None
    least = len(_missing_in(None, letters))
    for path in _fonts() if least else ():
        if (count := len(_missing_in(path, letters))) < least:
            best, least = path, count
        if not least:
            break
    return best


@lru_cache(_REMEMBERED)
def _missing_in(path: Path | None, letters: str) -> frozenset[str]:
    """The letters that a font lacks; all of them for a file that is no font."""
    try:
        face = ImageFont.truetype(str(path), _CHECKED) if path else ImageFont.load_default(_CHECKED)
        missing = _drawn(face, _MISSING_GLYPH)
        return frozenset(letter for letter in letters if _drawn(face, letter) == missing)
    except OSError:
        return frozenset(letters)


def _drawn(face: Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = face.getmask(letter)
    return mask.size, bytes(mask)


@lru_cache(1)
def _fonts() -> tuple[Path, ...]:
    """The font files of this machine: the preferred ones, then the plain faces of others."""
    found = [path for folder in _folders() for path in sorted(folder.rglob("*")) if path.suffix.lower() in _ENDINGS]
    rank = {name.casefold(): place for place, name in enumerate(PREFERRED)}
    plain = [path for path in found if path.stem.casefold() in rank or "regular" in path.stem.casefold()]
    return tuple(sorted(plain, key=lambda path: rank.get(path.stem.casefold(), len(rank))))


_ENDINGS = (".ttf", ".otf", ".ttc")


def _folders() -> Iterator[Path]:
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield home / "AppData" / "Local" / "Microsoft" / "Windows" / "Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts")
    else:
        yield from (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local" / "share" / "fonts")
