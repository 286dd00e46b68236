"""The facts of a model, found in its configurations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from wan_pipeline.errors import ModelError
from wan_pipeline.models import registry
from wan_pipeline.models.memory import MemoryFacts
from wan_pipeline.models.reading.configs import (
    INDEX,
    TRANSFORMERS,
    Config,
    ImageEncoderConfig,
    PipelineConfig,
    ReadConfig,
    SchedulerConfig,
    TextEncoderConfig,
    TransformerConfig,
    VaeConfig,
    as_kind,
    components,
)
from wan_pipeline.models.reading.parameters import image_encoder_params, text_params, text_table_params, vae_params
from wan_pipeline.models.spec import Availability, LastImage, ModelSpec, Size

TEXT_PIPELINE, IMAGE_PIPELINE, VACE_PIPELINE = "WanPipeline", "WanImageToVideoPipeline", "WanVACEPipeline"
PIPELINES = (TEXT_PIPELINE, IMAGE_PIPELINE, VACE_PIPELINE)
MASK_CHANNELS = 4
"""Input channels of an image-to-video transformer that mark the given frames, beside the image's latents."""


@dataclass(frozen=True)
class Layout:
    """A pipeline and its components, from `model_index.json`."""

    pipeline: str
    components: dict[str, str]
    """Class name of each component that is present."""
    expand_timesteps: bool
    boundary_ratio: float | None

    @property
    def has_two_experts(self) -> bool:
        return TRANSFORMERS[1] in self.components

    @property
    def transformers(self) -> tuple[str, ...]:
        return TRANSFORMERS if self.has_two_experts else TRANSFORMERS[:1]


def read_layout(title: str, index: Config) -> Layout:
    """The layout of a complete pipeline of a supported class. Raises ModelError for any other."""
    config = as_kind(PipelineConfig, index, title, INDEX)
    layout = Layout(config.pipeline, components(index), bool(config.expand_timesteps), config.boundary_ratio)
    if layout.pipeline not in PIPELINES:
        raise ModelError(f"{title} is a {layout.pipeline}; this version runs {', '.join(PIPELINES)}.")
    _check_components(title, layout)
    if layout.has_two_experts != (layout.boundary_ratio is not None):
        raise ModelError(
            f"{title} cannot be used: two experts and a boundary_ratio belong together, and one is missing."
        )
    return layout


def inspect(
    model_id: str, title: str, read: ReadConfig, *, repo: str | None = None, licence: str = "unknown"
) -> ModelSpec:
    """The facts of a model whose configurations `read` gives.

    Raises ModelError if its pipeline is not supported or its components do not fit together.
    """
    layout = read_layout(title, read(INDEX))
    check_parts(title, layout, read)
    transformer, vae = _transformer(title, "transformer", read), _vae(title, read)
    scheduler = as_kind(SchedulerConfig, read("scheduler/scheduler_config.json"), title, "scheduler_config.json")
    base = _closest(layout, vae)
    return replace(
        base,
        id=model_id,
        title=title,
        repo=repo,
        licence=licence,
        availability=Availability.RELEASED,
        download_gb=0.0,
        size_multiple=vae.spatial_compression * transformer.patch_size[1],
        spatial_compression=vae.spatial_compression,
        latent_channels=vae.z_dim,
        temporal_compression=vae.temporal_compression,
        last_image=_last_image(layout, transformer),
        flow_shift=scheduler.flow_shift or base.flow_shift,
        memory=_memory(title, layout, read),
    )


def check_parts(title: str, layout: Layout, read: ReadConfig) -> None:
    """Raise ModelError if the configurations of two components disagree, or one of them is malformed."""
    vae = _vae(title, read)
    text = _text_encoder(title, read)
    takes_image = layout.pipeline == IMAGE_PIPELINE and not layout.expand_timesteps
    inputs = vae.z_dim + (vae.z_dim + MASK_CHANNELS if takes_image else 0)
    transformers = {name: _transformer(title, name, read) for name in layout.transformers}
    for name, config in transformers.items():
        _check_equal(title, f"the {name} takes", config.in_channels, "channels, and the VAE gives", inputs)
        _check_equal(title, f"the {name} gives", config.out_channels, "channels, and the VAE takes", vae.z_dim)
        _check_equal(title, f"the {name} reads texts of width", config.text_dim, "and the encoder's is", text.d_model)
    if (transformers["transformer"].image_dim is not None) != ("image_encoder" in layout.components):
        raise ModelError(f"{title} cannot be used: its transformer and its image encoder do not belong together.")
    for key, values in (("latents_mean", vae.latents_mean), ("latents_std", vae.latents_std)):
        _check_equal(title, f"the VAE's {key} has", len(values), "entries, and its channels are", vae.z_dim)


def _check_components(title: str, layout: Layout) -> None:
    transformer = "WanVACETransformer3DModel" if layout.pipeline == VACE_PIPELINE else "WanTransformer3DModel"
    wanted = {"vae": "AutoencoderKLWan", "text_encoder": "UMT5EncoderModel"}
    for name, kind in (wanted | dict.fromkeys(layout.transformers, transformer)).items():
        found = layout.components.get(name)
        if found != kind:
            problem = f"is a {found}" if found else "is missing"
            raise ModelError(f"{title} cannot be used: its {name} {problem} where a {kind} is needed.")
    for name in ("tokenizer", "scheduler"):
        if name not in layout.components:
            raise ModelError(f"{title} cannot be used: its {name} is missing.")


def _check_equal(title: str, first: str, one: int, second: str, other: int) -> None:
    if one != other:
        raise ModelError(f"{title} cannot be used: {first} {one} {second} {other}; its parts are of different models.")


def _transformer(title: str, name: str, read: ReadConfig) -> TransformerConfig:
    return as_kind(TransformerConfig, read(f"{name}/config.json"), title, f"{name}/config.json")


def _text_encoder(title: str, read: ReadConfig) -> TextEncoderConfig:
    return as_kind(TextEncoderConfig, read("text_encoder/config.json"), title, "text_encoder/config.json")


def _vae(title: str, read: ReadConfig) -> VaeConfig:
    return as_kind(VaeConfig, read("vae/config.json"), title, "vae/config.json")


def _closest(layout: Layout, vae: VaeConfig) -> ModelSpec:
    """The released model of the same architecture: it lends the settings that no configuration holds."""
    if layout.pipeline == VACE_PIPELINE:
        return registry.WAN21_VACE_14B
    if layout.has_two_experts:
        return registry.WAN22_I2V_A14B if layout.pipeline == IMAGE_PIPELINE else registry.WAN22_T2V_A14B
    if layout.expand_timesteps:
        return registry.WAN22_TI2V_5B
    base = registry.WAN21_I2V_480P if layout.pipeline == IMAGE_PIPELINE else registry.WAN21_T2V_14B
    step = math.lcm(16, 2 * vae.spatial_compression)
    on_grid = tuple(size for size in base.sizes if size.width % step == size.height % step == 0)
    return replace(base, sizes=on_grid or (Size(step * 26, step * 15),))


def _memory(title: str, layout: Layout, read: ReadConfig) -> MemoryFacts:
    """Sizes of the model's own parts, from their configurations."""
    transformer, text = _transformer(title, "transformer", read), _text_encoder(title, read)
    return MemoryFacts(
        layers=transformer.num_layers,
        width=transformer.num_attention_heads * transformer.attention_head_dim,
        feed_forward=transformer.ffn_dim,
        head_size=transformer.attention_head_dim,
        text_width=transformer.text_dim,
        experts=len(layout.transformers),
        reads_images=transformer.added_kv_proj_dim is not None,
        control_layers=len(transformer.vace_layers or ()),
        expands_timesteps=layout.expand_timesteps,
        text_params=text_params(text),
        text_table_params=text_table_params(text),
        text_layers=text.num_layers,
        vae_params=vae_params(_vae(title, read)),
        image_encoder_params=_image_encoder_params(title, layout, read),
    )


def _image_encoder_params(title: str, layout: Layout, read: ReadConfig) -> float:
    name = "image_encoder/config.json"
    if "image_encoder" not in layout.components:
        return 0.0
    return image_encoder_params(as_kind(ImageEncoderConfig, read(name), title, name))


def _last_image(layout: Layout, transformer: TransformerConfig) -> LastImage:
    """Positions for two images mean that the last one is required (FLF2V); without an image encoder it may be left out.

    The latter holds for image to video with two experts (Wan 2.2), whose images are conditioned by latents alone.
    """
    if transformer.pos_embed_seq_len is not None:
        return LastImage.REQUIRED
    by_latents_alone = layout.pipeline == IMAGE_PIPELINE and transformer.image_dim is None
    return LastImage.OPTIONAL if by_latents_alone and not layout.expand_timesteps else LastImage.NO
