"""Convert between the work folder of the training and the shipped checkpoint in diffusers' layout."""

from __future__ import annotations

import json
from pathlib import Path

from diffusers import AutoencoderKLWan, WanPipeline
from safetensors.torch import load_file, save_file

from training import architecture
from training.common import DENOISER
from training.denoiser.training import load_state, state_of
from wan_pipeline.demo.captions import make_tokenizer

RECORD = "training.json"


def export_checkpoint(work: Path, to: Path) -> None:
    """Save the pipeline in bf16, no file over 16 MB, with the stages' records in `training.json`."""
    vae, tokenizer = AutoencoderKLWan.from_pretrained(work / "vae").bfloat16(), make_tokenizer()
    model = architecture.make_transformer(vae.config.z_dim)
    encoder = architecture.make_text_encoder(len(tokenizer))
    load_state(load_file(work / DENOISER), model, encoder)
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=encoder.bfloat16(),
        vae=vae,
        scheduler=architecture.make_scheduler(),
        transformer=model.bfloat16(),
        expand_timesteps=True,
    )
    pipeline.save_pretrained(to, safe_serialization=True, max_shard_size="14MB")
    for path in to.rglob("*.safetensors"):
        path.chmod(0o644)
    stages = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("record-*.json"))]
    (to / RECORD).write_text(json.dumps({"stages": stages}, indent=1) + "\n", encoding="utf-8")


def import_checkpoint(checkpoint: Path, work: Path) -> None:
    """Fill the work folder from a checkpoint, to continue its training from weights rounded to bf16."""
    pipeline = WanPipeline.from_pretrained(checkpoint)
    pipeline.vae.float().save_pretrained(work / "vae", max_shard_size="14MB")
    save_file(state_of(pipeline.transformer.float(), pipeline.text_encoder.float()), work / DENOISER)
    stages = json.loads((checkpoint / RECORD).read_text(encoding="utf-8"))["stages"]
    for number, facts in enumerate(stages, 1):
        path = work / f"record-{number:02d}-{facts['stage']}.json"
        path.write_text(json.dumps(facts, indent=1), encoding="utf-8")
