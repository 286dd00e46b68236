"""The formats that a clip can be exported in: one table, for the command line, the page and the docs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from wan_pipeline.errors import RequestError

FIRST_FRAME = 1001
"""Number of the first file of a sequence, as visual effects count: it leaves room for frames before it."""
SEQUENCE_DIGITS = 4

_TO_YUV = "scale=out_color_matrix=bt709:out_range=tv:flags=lanczos+accurate_rnd+full_chroma_int"
_TAGS = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
_RGB_TAGS = "setparams=colorspace=gbr:color_primaries=bt709:color_trc=bt709:range=pc"
_MP4 = ("-movflags", "+faststart+write_colr")


def _yuv(pixels: str) -> str:
    return f"{_TO_YUV},format={pixels},{_TAGS}"


@dataclass(frozen=True)
class Format:
    """One format. All have BT.709 primaries; those with YUV pixels its matrix and limited range too, and say so."""

    name: str
    title: str
    bits: int
    """Per channel, in the file."""
    endings: tuple[str, ...]
    """Endings of a file's name, the usual one first."""
    sentence: str
    """What it is for, for a person who chooses."""
    filters: str = ""
    """ffmpeg's."""
    options: tuple[str, ...] = ()
    """ffmpeg's, of the encoder and the container."""
    is_sequence: bool = False
    """A folder with one file a frame."""
    min_size: tuple[int, int] = (1, 1)
    """Width and height below which the codec does not work."""

    @property
    def has_timecode(self) -> bool:
        """QuickTime files have a track for it."""
        return self.endings[0] == ".mov"


FORMATS: dict[str, Format] = {
    item.name: item
    for item in (
        Format(
            "png16",
            "PNG sequence, 16 bit",
            16,
            (".png",),
            "Every frame as a picture with all its levels; large, and read by everything.",
            _RGB_TAGS,
            ("-f", "image2", "-c:v", "png", "-pix_fmt", "rgb48be"),
            is_sequence=True,
        ),
        Format(
            "png8",
            "PNG sequence, 8 bit",
            8,
            (".png",),
            "Every frame as the clip shows it, without compression losses.",
            _RGB_TAGS,
            ("-f", "image2", "-c:v", "png", "-pix_fmt", "rgb24"),
            is_sequence=True,
        ),
        Format(
            "tiff16",
            "TIFF sequence, 16 bit",
            16,
            (".tif",),
            "As PNG with 16 bits, for programs that prefer TIFF.",
            "",
            ("-f", "image2", "-c:v", "tiff", "-compression_algo", "lzw", "-pix_fmt", "rgb48le"),
            is_sequence=True,
        ),
        Format(
            "exr",
            "OpenEXR sequence, half float",
            16,
            (".exr",),
            "For compositing: linear light by default, with primaries and transfer written into each file.",
            is_sequence=True,
        ),
        Format(
            "prores",
            "ProRes 422 HQ",
            10,
            (".mov",),
            "For editing and grading: 10 bits, quick to scrub.",
            _yuv("yuv422p10le"),
            ("-c:v", "prores_ks", "-profile:v", "hq", "-vendor", "apl0", "-movflags", "+write_colr", "-f", "mov"),
        ),
        Format(
            "prores4444",
            "ProRes 4444",
            10,
            (".mov",),
            "As ProRes 422 HQ with the colour of every pixel, for keying and titles. The encoder writes 10 bits.",
            _yuv("yuv444p10le"),
            ("-c:v", "prores_ks", "-profile:v", "4444", "-vendor", "apl0", "-movflags", "+write_colr", "-f", "mov"),
        ),
        Format(
            "dnxhr",
            "DNxHR HQX",
            10,
            (".mov",),
            "For Avid, and for Resolve on Linux: 10 bits, quick to scrub.",
            _yuv("yuv422p10le"),
            ("-c:v", "dnxhd", "-profile:v", "dnxhr_hqx", "-movflags", "+write_colr", "-f", "mov"),
            min_size=(256, 120),
        ),
        Format(
            "h265",
            "H.265, 10 bit",
            10,
            (".mp4", ".mov"),
            "Small and good: for reviews on televisions and tablets.",
            _yuv("yuv420p10le"),
            ("-c:v", "libx265", "-crf", "14", "-x265-params", "log-level=error", "-tag:v", "hvc1", *_MP4, "-f", "mp4"),
        ),
        Format(
            "av1",
            "AV1, 10 bit",
            10,
            (".mp4",),
            "The smallest at this quality; slow to make, and not for editing.",
            _yuv("yuv420p10le"),
            ("-c:v", "libsvtav1", "-crf", "18", "-preset", "6", *_MP4, "-f", "mp4"),
            min_size=(64, 64),
        ),
        Format(
            "ffv1",
            "FFV1, 16 bit",
            16,
            (".mkv",),
            "An archive in one file: RGB without any loss, with checksums.",
            f"format=gbrp16le,{_RGB_TAGS}",
            ("-c:v", "ffv1", "-level", "3", "-g", "1", "-slicecrc", "1", "-f", "matroska"),
        ),
        Format(
            "h264",
            "H.264",
            8,
            (".mp4", ".mov"),
            "Plays everywhere.",
            _yuv("yuv420p"),
            ("-c:v", "libx264", "-crf", "14", "-preset", "medium", *_MP4, "-f", "mp4"),
        ),
        Format(
            "webm",
            "WebM, VP9",
            8,
            (".webm",),
            "For web pages.",
            _yuv("yuv420p"),
            ("-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-row-mt", "1", "-f", "webm"),
        ),
        Format(
            "gif",
            "GIF",
            8,
            (".gif",),
            "A loop for chats: 256 colours, chosen from the whole clip; times in hundredths of a second.",
            "split[a][b];[a]palettegen[p];[b][p]paletteuse",
            ("-c:v", "gif", "-f", "gif"),
        ),
        Format(
            "webp",
            "WebP, animated",
            8,
            (".webp",),
            "A loop for web pages in all colours.",
            "",
            ("-c:v", "libwebp_anim", "-quality", "90", "-loop", "0", "-f", "webp"),
        ),
    )
}

PROGRAMS = {
    "resolve": "dnxhr",
    "premiere": "prores",
    "nuke": "exr",
    "aftereffects": "png16",
    "web": "h264",
}
"""Which format a program is best given."""
TITLES = {
    "resolve": "DaVinci Resolve",
    "premiere": "Premiere Pro",
    "nuke": "Nuke",
    "aftereffects": "After Effects",
    "web": "the web",
}
"""What people call the programs."""


def find_format(name: str) -> Format:
    """Raises RequestError."""
    if name not in FORMATS:
        raise RequestError("format", f"There is no format '{name[:40]}'; choose from: {', '.join(FORMATS)}.")
    return FORMATS[name]


def check_output(form: Format, output: Path) -> None:
    """Raise RequestError for a path that does not fit the format, or a folder that is not empty."""
    if form.is_sequence:
        if output.exists() and not (output.is_dir() and not any(output.iterdir())):
            raise RequestError("output", f"{output} is there already; name a new folder for the {form.title}.")
    elif output.suffix.lower() not in form.endings or output.is_dir():
        endings = " or ".join(form.endings)
        raise RequestError("output", f"{output} is no name for {form.title}; choose one that ends in {endings}.")


def check_size(form: Format, width: int, height: int) -> None:
    """Raise RequestError for frames that the codec is too coarse for."""
    if width < form.min_size[0] or height < form.min_size[1]:
        least = " x ".join(map(str, form.min_size))
        raise RequestError(
            "format",
            f"{form.title} takes frames from {least}, and these are {width} x {height}; choose another format.",
        )
