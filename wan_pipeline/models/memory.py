"""The sizes of a model's parts, from which memory and work are forecast. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryFacts:
    """Sizes of one transformer, and parameter counts of the other components."""

    layers: int
    width: int
    """Hidden size: heads times head size."""
    feed_forward: int
    """Inner size of the feed-forward layers."""
    head_size: int = 128
    """Channels of an attention head."""
    text_width: int = 4096
    """Hidden size of the text encoder."""
    experts: int = 1
    """Transformers that take turns, high noise first."""
    reads_images: bool = False
    """Whether each block also attends to an image encoder's output (Wan 2.1 image to video)."""
    control_layers: int = 0
    """VACE's own blocks, beside `layers`."""
    expands_timesteps: bool = False
    """Whether the timestep embeddings are per token (TI2V)."""

    text_params: float = 5.68e9
    """Text encoder (UMT5-XXL)."""
    text_table_params: float = 1.05e9
    """The text encoder's token embedding table, which may stay in the machine's memory."""
    text_layers: int = 24
    vae_params: float = 127e6
    image_encoder_params: float = 0.0

    @property
    def blocks(self) -> int:
        """Blocks of one transformer."""
        return self.layers + self.control_layers

    @property
    def block_params(self) -> float:
        """Parameters of one block: query, key, value and output of two attentions, and the feed-forward layers."""
        attention = (10 if self.reads_images else 8) * self.width**2
        return attention + 2 * self.width * self.feed_forward

    @property
    def outer_params(self) -> float:
        """Parameters of one transformer outside its blocks: embeddings, and VACE's projections."""
        return 8 * self.width**2 + self.text_width * self.width + self.control_layers * 2 * self.width**2


WAN_1_3B = MemoryFacts(layers=30, width=1536, feed_forward=8960)
WAN_14B = MemoryFacts(layers=40, width=5120, feed_forward=13824)
WAN_5B = MemoryFacts(layers=30, width=3072, feed_forward=14336, vae_params=705e6, expands_timesteps=True)
DEMO_MEMORY = MemoryFacts(
    layers=8,
    width=320,
    feed_forward=832,
    head_size=64,
    text_width=192,
    expands_timesteps=True,
    text_params=1.2e6,
    text_table_params=76e3,
    text_layers=3,
    vae_params=6e6,
)
