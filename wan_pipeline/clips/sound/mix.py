"""Tracks mixed to the length of pictures, as one sound file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from wan_pipeline.clips.ffmpeg import file_url
from wan_pipeline.clips.sound.listen import SILENCE_LUFS, hearing, loudness_of, no_sound, run, seconds_of
from wan_pipeline.clips.sound.track import Track
from wan_pipeline.errors import RequestError
from wan_pipeline.storage.files import whole_file

RATE = 48_000
LOUDNESS_RANGE = (-40.0, -5.0)
"""LUFS."""
PEAK_DB = -1.0
"""No sample is louder, of sound that is brought to a loudness: what lossy coding adds has room above it."""
TOLERANCE = 0.2
"""LU; finer than anybody hears."""
DUCKING = "sidechaincompress=threshold=0.015:ratio=4:attack=20:release=400"
"""A voice of -20 dB lowers what lies under it by 12 dB: three quarters of what it is above the threshold of -36 dB."""
ENCODERS = {".m4a": ["-c:a", "aac", "-b:a", "256k", "-f", "mp4"], ".wav": ["-c:a", "pcm_s24le", "-f", "wav"]}


def mix(tracks: Sequence[Track], seconds: Fraction, target: Path, *, lufs: float | None = None) -> None:
    """Write the tracks as one sound of 48 kHz, exactly `seconds` long: AAC for `.m4a`, 24 bits for `.wav`.

    `lufs` brings the whole to this integrated loudness by EBU R128: it is measured, then moved by one gain, with peaks
    held below -1 dB. Sound that is all peaks stays softer. Raises RequestError for a file that cannot be heard and for
    silence, StorageError.
    """
    check_loudness(lufs)
    files, length = [track.file for track in tracks], float(seconds)
    graph = _mixed(tracks, length)
    level = "anull" if lufs is None else _level_for(files, graph, lufs)
    count = round(seconds * RATE)  # by samples: filters before have moved the timestamps
    graph = f"{graph};[out]{level},apad=whole_len={count},atrim=end_sample={count}[mix]"
    exact = ["-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1"]
    with whole_file(target) as part:
        output = [*ENCODERS[target.suffix.lower()], *exact, "-y", file_url(part)]
        result = run([*hearing(files), "-filter_complex", graph, "-map", "[mix]", *output])
        if result.returncode != 0:
            raise no_sound(files, result.stderr)


def check_loudness(lufs: float | None) -> None:
    """Raise RequestError for a loudness that no mix is brought to."""
    if lufs is not None and not LOUDNESS_RANGE[0] <= lufs <= LOUDNESS_RANGE[1]:
        raise RequestError("lufs", f"{lufs:g} LUFS is not possible; choose -40 to -5, such as -16 or -23.")


def _mixed(tracks: Sequence[Track], length: float) -> str:
    """ffmpeg's filters from the files to the mix `[out]`, before its loudness is set."""
    if len(tracks) == 1:
        return f"[0:a:0]{_chain(tracks[0], length)}[out]"
    chains = [
        f"[{number}:a:0]{_chain(track, length)},aformat=channel_layouts=stereo,apad=whole_dur={length:.6f}[t{number}]"
        for number, track in enumerate(tracks)
    ]
    voices = [f"[t{number}]" for number, track in enumerate(tracks) if track.ducks_others]
    beds = [f"[t{number}]" for number, track in enumerate(tracks) if not track.ducks_others]
    if not voices or not beds:
        return ";".join([*chains, _sum(voices or beds, "out")])
    ducked = f"[voices]asplit[voice][key];[beds][key]{DUCKING}[low]"
    return ";".join([*chains, _sum(voices, "voices"), _sum(beds, "beds"), ducked, _sum(["[low]", "[voice]"], "out")])


def _sum(sources: Sequence[str], name: str) -> str:
    return f"{''.join(sources)}amix=inputs={len(sources)}:normalize=0[{name}]"


def _chain(track: Track, length: float) -> str:
    """The filters of one track: cut, faded, put in its place, as loud as it is to be."""
    end = f":duration={track.seconds:.6f}" if track.seconds is not None else ""
    cut = f"aresample={RATE},atrim=start={track.skipped:.6f}{end},asetpts=PTS-STARTPTS"
    cut += f",atrim=end={max(length - track.start, 0):.6f}"
    fades = f",afade=t=in:d={track.fade_in:.6f}" if track.fade_in else ""
    if track.fade_out:
        known = track.heard_seconds(length)
        heard = seconds_of(track.file, cut) if known is None else known
        fades += f",afade=t=out:st={max(heard - track.fade_out, 0):.6f}:d={min(track.fade_out, heard):.6f}"
    place = f",adelay={round(track.start * RATE)}S:all=1" if track.start else ""
    return f"{cut}{fades},volume={track.gain_db:.6f}dB{place}"


def _measured(files: Sequence[Path], graph: str) -> float:
    now = loudness_of(files, graph)
    if now < SILENCE_LUFS:
        names = ", ".join(file.name for file in files)
        raise RequestError("lufs", f"{names} is silent under the clip; choose another place with --at.")
    return now


def _level_for(files: Sequence[Path], graph: str, lufs: float) -> str:
    """The filters that give the mix this loudness. What the limiter takes away is given back once."""
    gain = lufs - _measured(files, graph)
    left = lufs - loudness_of(files, graph.replace("[out]", f"[mixed];[mixed]{_level(gain)}[out]"))
    return _level(gain + left) if abs(left) > TOLERANCE else _level(gain)


def _level(gain_db: float) -> str:
    return f"volume={gain_db:.6f}dB,alimiter=limit={PEAK_DB}dB:level=0:latency=1"
