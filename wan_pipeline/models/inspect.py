"""What a model is, by its own configurations: nothing is read from its name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from wan_pipeline.errors import ModelError
from wan_pipeline.models import registry
from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.spec import Availability, LastImage, ModelSpec, Size

TEXT_PIPELINE, IMAGE_PIPELINE, VACE_PIPELINE = "WanPipeline", "WanImageToVideoPipeline", "WanVACEPipeline"
PIPELINES = (TEXT_PIPELINE, IMAGE_PIPELINE, VACE_PIPELINE)
MASK_CHANNELS = 4
"""Beside the image's latents an image-to-video transformer is told which frames are given."""
Config = dict[str, Any]
Read = Callable[[str], Config]


@dataclass(frozen=True)
class Layout:
    """What `model_index.json` says."""

    pipeline: str
    components: dict[str, str]
    """Class of each component that is there."""
    expand_timesteps: bool
    boundary_ratio: float | None

    @property
    def has_two_experts(self) -> bool:
        return "transformer_2" in self.components


def read_layout(title: str, index: Config) -> Layout:
    """Raises ModelError for a pipeline that is not one of those that run here, or is not whole."""
    pipeline = index.get("_class_name")
    components = {name: str(entry[1]) for name, entry in index.items() if isinstance(entry, list) and entry[0]}
    boundary = index.get("boundary_ratio")
    if pipeline not in PIPELINES:
        raise ModelError(f"{title} is a {pipeline}; this version runs {', '.join(PIPELINES)}.")
    transformer = "WanVACETransformer3DModel" if pipeline == VACE_PIPELINE else "WanTransformer3DModel"
    wanted = {"transformer": transformer, "vae": "AutoencoderKLWan", "text_encoder": "UMT5EncoderModel"}
    if "transformer_2" in components:
        wanted["transformer_2"] = transformer
    for name, kind in wanted.items():
        if components.get(name) != kind:
            found = f"is a {components[name]}" if name in components else "is missing"
            raise ModelError(f"{title} cannot be used: its {name} {found} where a {kind} is needed.")
    for name in ("tokenizer", "scheduler"):
        if name not in components:
            raise ModelError(f"{title} cannot be used: its {name} is missing.")
    if ("transformer_2" in components) != (boundary is not None):
        raise ModelError(
            f"{title} cannot be used: two experts and a boundary_ratio belong together, and one is missing."
        )
    return Layout(str(pipeline), components, bool(index.get("expand_timesteps", False)), boundary)


def inspect(model_id: str, title: str, read: Read, *, repo: str | None = None, licence: str = "unknown") -> ModelSpec:
    """The facts of a model, its configurations read by `read` ("vae/config.json").

    Raises ModelError if it is of another kind, or if its parts do not fit together.
    """
    layout = read_layout(title, read("model_index.json"))
    transformer, vae = read("transformer/config.json"), read("vae/config.json")
    try:
        check_parts(title, layout, read)
        base = _nearest(layout, vae)
        spatial = scale_of(vae, "scale_factor_spatial", 8)
        return replace(
            base,
            id=model_id,
            title=title,
            repo=repo,
            licence=licence,
            availability=Availability.RELEASED,
            download_gb=0.0,
            size_multiple=spatial * int(transformer["patch_size"][1]),
            spatial_compression=spatial,
            temporal_compression=scale_of(vae, "scale_factor_temporal", 4),
            last_image=_last_image(layout, transformer),
            flow_shift=float(read("scheduler/scheduler_config.json").get("flow_shift") or base.flow_shift),
            memory=_memory(base.memory, layout, transformer),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ModelError(f"{title} cannot be used: one of its configurations lacks {error}.") from error


def check_parts(title: str, layout: Layout, read: Read) -> None:
    """Raise ModelError where the configurations of two parts disagree; KeyError or TypeError if one lacks something."""
    vae, text = read("vae/config.json"), read("text_encoder/config.json")
    latents = int(vae["z_dim"])
    for name in ("transformer", "transformer_2") if layout.has_two_experts else ("transformer",):
        config = read(f"{name}/config.json")
        beside = latents + MASK_CHANNELS if layout.pipeline == IMAGE_PIPELINE and not layout.expand_timesteps else 0
        _agree(title, f"the {name} takes", config["in_channels"], "channels, and the VAE gives", latents + beside)
        _agree(title, f"the {name} gives", config["out_channels"], "channels, and the VAE takes", latents)
        _agree(title, f"the {name} reads texts of width", config["text_dim"], "and the encoder's is", text["d_model"])
        has_encoder = "image_encoder" in layout.components
        if (config.get("image_dim") is not None) != has_encoder and name == "transformer":
            raise ModelError(f"{title} cannot be used: its transformer and its image encoder do not belong together.")
    for key in ("latents_mean", "latents_std"):
        _agree(title, f"the VAE's {key} has", len(vae[key]), "entries, and its channels are", latents)


def scale_of(vae: Config, name: str, default: int) -> int:
    """How many pixels or frames one latent stands for."""
    return int(vae.get(name) or default)


def _agree(title: str, first: str, one: object, second: str, other: object) -> None:
    if one != other:
        raise ModelError(f"{title} cannot be used: {first} {one} {second} {other}; its parts are of different models.")


def _nearest(layout: Layout, vae: Config) -> ModelSpec:
    """The released model of the same build, for the settings that no configuration tells."""
    if layout.pipeline == VACE_PIPELINE:
        return registry.WAN21_VACE_14B
    if layout.has_two_experts:
        return registry.WAN22_I2V_A14B if layout.pipeline == IMAGE_PIPELINE else registry.WAN22_T2V_A14B
    if layout.expand_timesteps:
        return registry.WAN22_TI2V_5B
    base = registry.WAN21_I2V_480P if layout.pipeline == IMAGE_PIPELINE else registry.WAN21_T2V_14B
    step = math.lcm(16, 2 * scale_of(vae, "scale_factor_spatial", 8))
    on_grid = tuple(size for size in base.sizes if size.width % step == size.height % step == 0)
    return replace(base, sizes=on_grid or (Size(step * 26, step * 15),))


def _memory(like: MemoryFacts, layout: Layout, transformer: Config) -> MemoryFacts:
    """What its own transformer takes; encoders and VAE as in the released model of the same build."""
    return replace(
        like,
        layers=int(transformer["num_layers"]),
        width=int(transformer["num_attention_heads"]) * int(transformer["attention_head_dim"]),
        feed_forward=int(transformer["ffn_dim"]),
        text_width=int(transformer["text_dim"]),
        experts=2 if layout.has_two_experts else 1,
        reads_images=transformer.get("added_kv_proj_dim") is not None,
        control_layers=len(transformer.get("vace_layers") or ()),
        expands_timesteps=layout.expand_timesteps,
    )


def _last_image(layout: Layout, transformer: Config) -> LastImage:
    if transformer.get("pos_embed_seq_len") is not None:
        return LastImage.REQUIRED
    without_encoder = layout.pipeline == IMAGE_PIPELINE and transformer.get("image_dim") is None
    return LastImage.OPTIONAL if without_encoder and not layout.expand_timesteps else LastImage.NO
