"""What of a model's build decides the memory and the work it needs. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MemoryFacts:
    """Sizes of the transformer, and parameters of what stands around it."""

    layers: int
    width: int
    feed_forward: int
    text_width: int = 4096
    experts: int = 1
    reads_images: bool = False
    """Each block attends to an image encoder's output too (Wan 2.1 image to video)."""
    control_layers: int = 0
    """Further blocks, of VACE."""
    expands_timesteps: bool = False
    """Each token has a time of its own (TI2V)."""

    text_params: float = 5.68e9
    text_table_params: float = 1.05e9
    """Of the text encoder's: the table of its words, which may stay in the machine's memory."""
    text_layers: int = 24
    vae_params: float = 127e6
    image_encoder_params: float = 0.0

    @property
    def blocks(self) -> int:
        """Of one expert."""
        return self.layers + self.control_layers

    @property
    def block_params(self) -> float:
        attention = (10 if self.reads_images else 8) * self.width**2
        return attention + 2 * self.width * self.feed_forward

    @property
    def around_params(self) -> float:
        """Of one expert, outside its blocks."""
        return 8 * self.width**2 + self.text_width * self.width + self.control_layers * 2 * self.width**2


WAN_1_3B = MemoryFacts(layers=30, width=1536, feed_forward=8960)
WAN_14B = MemoryFacts(layers=40, width=5120, feed_forward=13824)
WAN_5B = MemoryFacts(layers=30, width=3072, feed_forward=14336, vae_params=705e6, expands_timesteps=True)
DEMO_MEMORY = MemoryFacts(
    layers=8,
    width=320,
    feed_forward=832,
    text_width=192,
    expands_timesteps=True,
    text_params=1.2e6,
    text_table_params=76e3,
    text_layers=3,
    vae_params=6e6,
)
