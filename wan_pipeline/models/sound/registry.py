"""Every model that makes sound, as the registry has those that make clips.

Licences are those of their model cards; the exact one and the size come from the Hub before a download.
"""

from __future__ import annotations

from wan_pipeline.models.spec import ModelSpec, SoundFacts, SoundPipeline

STABLE_AUDIO_3 = ModelSpec(
    id="stable-audio-3-medium",
    title="Stable Audio 3 Medium",
    modes=frozenset(),
    sizes=(),
    # Stability AI publishes it in another layout: convert_stable_audio_3_to_diffusers.py of diffusers makes this one.
    repo=None,
    licence="Stability AI Community License",
    num_inference_steps=8,
    guidance_scale=1.0,
    sound=SoundFacts(
        SoundPipeline.STABLE_AUDIO_3,
        makes="sound effects and music",
        sample_rate=44_100,
        channels=2,
        max_seconds=380.0,
        proposal="Field recording of {scene}, natural ambience, no music, no voices",
        prompt_help="Says what is heard: places, materials, weather, instruments.",
    ),
)

ACE_STEP = ModelSpec(
    id="ace-step-1.5-xl-turbo",
    title="ACE-Step 1.5 XL Turbo",
    modes=frozenset(),
    sizes=(),
    repo="ACE-Step/acestep-v15-xl-turbo-diffusers",
    licence="MIT",
    download_gb=12.0,
    num_inference_steps=8,
    guidance_scale=1.0,
    sound=SoundFacts(
        SoundPipeline.ACE_STEP,
        makes="music",
        sample_rate=48_000,
        channels=2,
        max_seconds=600.0,
        proposal="Instrumental film score for {scene}",
        prompt_help="Says which music: style, instruments, mood, tempo. It sings no words here.",
    ),
)

LONGCAT = ModelSpec(
    id="longcat-audiodit-1b",
    title="LongCat AudioDiT 1B",
    modes=frozenset(),
    sizes=(),
    repo="ruixiangma/LongCat-AudioDiT-1B-Diffusers",
    licence="MIT",
    download_gb=5.0,
    num_inference_steps=16,
    guidance_scale=4.0,
    sound=SoundFacts(
        SoundPipeline.LONGCAT,
        makes="speech",
        sample_rate=24_000,
        channels=1,
        max_seconds=30.0,
        proposal="",
        prompt_help="Is what is said, in English or Chinese.",
    ),
)

SOUND_MODELS: dict[str, ModelSpec] = {spec.id: spec for spec in (STABLE_AUDIO_3, ACE_STEP, LONGCAT)}
