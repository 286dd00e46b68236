"""The files of a bundle on their way into a studio: each has one place, and nothing that is here is changed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from wan_pipeline.clips.files import BIN
from wan_pipeline.clips.inputs.images import read_rgb
from wan_pipeline.clips.receipt import Receipt
from wan_pipeline.errors import ImageError, LoraError, ProjectError, ReceiptError
from wan_pipeline.projects.bundles.bundle import MAX_SMALL_BYTES
from wan_pipeline.requests.lists.pictures import read_member
from wan_pipeline.requests.presets import load_preset
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.files import check_room, whole_file
from wan_pipeline.storage.hashes import pixels_sha256
from wan_pipeline.storage.outside import OutsideDataError, parse_json
from wan_pipeline.wording import plural

INPUT_NAME = re.compile(r"[0-9a-f]{64}\.(png|video)")
CLIP_NAME = re.compile(r"[^\x00-\x1f\\:*?\"<>|]+\.(mp4|json|webp|latents)")
LORA_NAME = re.compile(r"[^\x00-\x1f\\:*?\"<>|]+\.safetensors")
STYLE_NAME = re.compile(r"[\w-]+\.toml")
CLIP_SUFFIXES = (".webp", ".latents", ".json", ".mp4")
"""Endings in the order of writing: an MP4 becomes a clip of the gallery once its receipt is there."""


class Unpacking:
    """What of a bundle comes into a studio. `styles`, `loras`, `inputs`: members by their places."""

    def __init__(
        self,
        archive: zipfile.ZipFile,
        label: str,
        members: Iterable[zipfile.ZipInfo],
        settings: Settings,
        requests: RequestResolver,
    ) -> None:
        """Reads and checks what is small; writes nothing. `label` is the project's. Raises UserError."""
        self._archive, self._label, self._settings, self._requests = archive, label, settings, requests
        self._names = {member.filename: member for member in members}
        self.notes: list[str] = []
        self.styles = {
            settings.own_presets / name: member
            for name, member in self._below("presets", STYLE_NAME)
            if not self._is_style(name.removesuffix(".toml"))
        }
        self.loras = {
            settings.loras / name: member
            for name, member in self._below("loras", LORA_NAME)
            if not self._is_lora(name.removesuffix(".safetensors"))
        }
        self.inputs = {
            settings.inputs / name: member
            for name, member in self._below("inputs", INPUT_NAME)
            if not (settings.inputs / name).exists()
        }
        self.clips, self.skipped = self._whole_clips()
        self._check_styles()

    def check_room(self) -> None:
        """Raises DiskFullError, StorageError."""
        clips = [member for clip in self.clips for member in clip.values()]
        sizes = [
            sum(member.file_size for member in members)
            for members in ([*self.styles.values(), *self.inputs.values(), *clips], self.loras.values())
        ]
        workspace, loras = self._settings.workspace, self._settings.loras
        check_room(workspace, sizes[0], "the bundle")
        if sizes[1]:
            loras.mkdir(parents=True, exist_ok=True)
            is_same = workspace.stat().st_dev == loras.stat().st_dev
            check_room(loras, sum(sizes) if is_same else sizes[1], "the bundle's LoRAs")

    def write(self) -> int:
        """Unpack everything. Returns the number of clips. Raises UserError, OSError."""
        for target, member in (self.styles | self.loras).items():
            self._copy(member, target)
        bad = sum(not self._write_input(member, target) for target, member in self.inputs.items())
        for clip in self.clips:
            self._write_clip(clip)
        if bad:
            self.notes.append(f"{plural(bad, 'input picture or video')} left out: the name is not the content's hash.")
        if self.skipped:
            self.notes.append(
                f"{plural(self.skipped, 'clip')} left out: of another project, without a receipt, "
                "or here already under that name."
            )
        return len(self.clips)

    def _below(self, kind: str, pattern: re.Pattern[str]) -> list[tuple[str, zipfile.ZipInfo]]:
        """Members of one folder of the bundle, by their paths in it. Those with a way out of it have no place."""
        found = (
            (name.removeprefix(f"{kind}/"), member)
            for name, member in self._names.items()
            if name.startswith(f"{kind}/")
        )
        return [(name, member) for name, member in found if pattern.fullmatch(name) and _is_inside(name)]

    def _is_style(self, name: str) -> bool:
        presets = self._requests.presets
        ids = {*presets, *(path.stem for path in self._settings.own_presets.glob("*.toml"))}
        return name.casefold() in {known.casefold() for known in ids}

    def _is_lora(self, name: str) -> bool:
        """Whether the name finds a LoRA here, or its last part, which would not be found alone any more."""
        for wanted in (name, PurePosixPath(name).name):
            try:
                self._requests.loras.find(wanted)
            except LoraError:
                continue
            return True
        return (self._settings.loras / f"{name}.safetensors").exists()

    def _check_styles(self) -> None:
        """Raises UserError for a style that is too large, or cannot be read."""
        with tempfile.TemporaryDirectory() as folder:
            for target, member in self.styles.items():
                copy = Path(folder) / target.name
                copy.write_bytes(read_member(self._archive, member.filename, MAX_SMALL_BYTES))
                load_preset(copy)

    def _whole_clips(self) -> tuple[list[dict[Path, zipfile.ZipInfo]], int]:
        """The files of each clip that comes in, and how many do not."""
        groups: dict[str, dict[str, zipfile.ZipInfo]] = defaultdict(dict)
        for name, member in self._below("clips", CLIP_NAME):
            stem, _, suffix = name.rpartition(".")
            groups[stem][f".{suffix}"] = member
        taken = [
            {self._settings.clips / f"{stem}{suffix}": files[suffix] for suffix in CLIP_SUFFIXES if suffix in files}
            for stem, files in groups.items()
            if self._is_wanted(stem, files)
        ]
        return taken, len(groups) - len(taken)

    def _is_wanted(self, stem: str, files: dict[str, zipfile.ZipInfo]) -> bool:
        first = stem.partition("/")[0]
        if first.startswith(".") or first.casefold() == BIN or not {".mp4", ".json"} <= files.keys():
            return False
        clips = self._settings.clips
        if any((folder / f"{stem}{suffix}").exists() for folder in (clips, clips / BIN) for suffix in CLIP_SUFFIXES):
            return False
        try:
            return Receipt.from_dict(self._receipt(files[".json"])).project == self._label
        except (OutsideDataError, ReceiptError, ProjectError):
            return False

    def _receipt(self, member: zipfile.ZipInfo) -> object:
        """Without the key of a guest, which is another studio's. Raises OutsideDataError, UserError."""
        receipt = parse_json(read_member(self._archive, member.filename, MAX_SMALL_BYTES))
        if isinstance(receipt, dict):
            receipt.pop("made_by", None)
        return receipt

    def _write_clip(self, files: dict[Path, zipfile.ZipInfo]) -> None:
        """All files of a clip, or none."""
        written: list[Path] = []
        try:
            for target, member in files.items():
                if target.suffix == ".json":
                    with whole_file(target) as part:
                        text = json.dumps(self._receipt(member), ensure_ascii=False, indent=2, sort_keys=True)
                        part.write_text(f"{text}\n", encoding="utf-8")
                else:
                    self._copy(member, target)
                written.append(target)
        except BaseException:
            for target in written:
                target.unlink(missing_ok=True)
            raise

    def _write_input(self, member: zipfile.ZipInfo, target: Path) -> bool:
        """Whether the picture or video is what its name says."""
        try:
            with whole_file(target) as part:
                self._unpack(member, part)
                if _content_name(part, is_video=target.suffix == ".video") != target.stem:
                    raise ImageError("another one")
        except ImageError:
            return False
        return True

    def _copy(self, member: zipfile.ZipInfo, target: Path) -> None:
        with whole_file(target) as part:
            self._unpack(member, part)

    def _unpack(self, member: zipfile.ZipInfo, part: Path) -> None:
        with self._archive.open(member) as packed, part.open("wb") as file:
            shutil.copyfileobj(packed, file, 2**20)


def _is_inside(name: str) -> bool:
    """Whether a path stays in its folder, and has no part that Windows would change: "..", "name ", "name."."""
    return not any(part in ("", "/") or part.endswith((" ", ".")) for part in name.split("/"))


def _content_name(path: Path, *, is_video: bool) -> str:
    """The name that an input file has by its content. Raises ImageError."""
    if not is_video:
        return pixels_sha256(read_rgb(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
