"""The differences between two renderings of a clip, in sentences."""

from __future__ import annotations

from dataclasses import replace

from wan_pipeline.clips.provenance import SETUP, UNLIKELY, Provenance

THEN = Provenance(
    "demo",
    "rev1",
    {"vae/a.safetensors": "1", "text/b.safetensors": "2"},
    {"glow": "3"},
    "4",
    "resident",
    {"app_commit": "abc", "device_name": "H100", "torch": "2.12.0", "threads": "2"},
)


def test_nothing_differs_from_itself() -> None:
    assert THEN.differences(THEN) == ()


def test_each_change_is_a_sentence_the_likeliest_first() -> None:
    environment = {"app_commit": "def", "torch": "2.13.0", "threads": "4"}
    now = Provenance("demo", "rev1", {"vae/a.safetensors": "5"}, {"glow": "6"}, "7", "tiled", environment)
    assert THEN.differences(now) == (
        "LoRA 'glow' is another file now.",
        "Model file 'vae/a.safetensors' is another file now.",
        "Model file 'text/b.safetensors' is not here now.",
        "The input image is another now.",
        "Memory plan: resident then, tiled now.",
        "Device name: H100 then, unknown now.",
        "Threads: 2 then, 4 now.",
        "Torch: 2.12.0 then, 2.13.0 now.",
        "App commit: abc then, def now.",
    )


def test_entries_of_the_environment_can_be_ignored() -> None:
    now = replace(THEN, environment={"device_name": "H100", "torch": "2.12.0", "threads": "4"})
    assert len(THEN.differences(now)) == 2
    assert THEN.differences(now, ignore=UNLIKELY | SETUP) == ()


def test_what_an_older_receipt_does_not_hold_is_no_difference() -> None:
    assert Provenance("demo", environment={"torch": "2.12.0"}).differences(THEN) == ()
