"""How a clip uses memory: what the planner chooses, the engine carries out, and jobs and receipts store as text."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from wan_pipeline.errors import GenerationError, UserError
from wan_pipeline.models.precision import Precision
from wan_pipeline.planning.attention import Attention
from wan_pipeline.planning.devices import ONE_DEVICE, Devices

LAYERS = (
    *(f"attn1.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")),
    *(f"attn2.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0", "add_k_proj", "add_v_proj")),
    *("ffn.net.0.proj", "ffn.net.2"),
)
"""A block's linear layers by their names in diffusers. `add_k_proj` and `add_v_proj` are of models that read images."""


class Residency(StrEnum):
    """Where the transformers' weights are between uses, fastest first."""

    RESIDENT = "resident"
    """On the device, from clip to clip."""
    OFFLOAD = "offload"
    """In the machine's memory; accelerate moves one whole component at a time to the device."""
    STREAMED = "streamed"
    """In the machine's memory; each block is copied to the device while the one before it computes."""


@dataclass(frozen=True)
class MemoryPlan:
    """A memory plan. `str` gives its text, without the fields at their default, and `read_plan` reads it.

    For example `streamed,int8,blocks=4,chunk=10920,text=streamed,tile=256`. The fields `residency`, `blocks`,
    `disk` and `branches` and the choice between `text=device` and `text=streamed` only place weights and work; the
    others change the frames' bits.
    """

    residency: Residency = Residency.RESIDENT
    precision: Precision = Precision.BF16
    blocks: int = 0
    """Blocks of each streamed transformer that stay on the device."""
    chunk: int = 0
    """Tokens at a time in the feed-forward layers of the chunked forward; 0 is diffusers' own forward."""
    text: str = "device"
    """Where the text encoder computes: `device`, `streamed` (on the device, layer by layer) or `cpu`."""
    tile: int = 0
    """Side in pixels of the tiles that the VAE decodes; 0 decodes whole frames."""
    vae: str = "fp32"
    """The decoder's dtype: `fp32`, as the authors decode, or `bf16`."""
    encode: str = "whole"
    """What the VAE encodes at a time: `whole` frames or `tiles`."""
    disk: int = 0
    """Experts whose weights are read from disk for every pass."""
    compiled: bool = False
    """Whether the transformer's blocks are compiled."""
    fused: bool = False
    """Whether the chunked forward's pointwise operations are computed by our own kernels, each in one pass over memory.
    Plans of older versions are without."""
    lora: str = "beside"
    """How LoRAs are applied: `beside` the weights, or `merged` into a layer's weight for each forward where that is
    cheaper."""
    attention: Attention = Attention.FASTEST
    """The backend of self-attention. Plans of older versions have none, which is what computed them."""
    exact: tuple[str, ...] = ()
    """Layers that multiply in 16 bits all the same where the others multiply in int8, in all blocks; of LAYERS, sorted.
    Their text is `exact=attn2.to_q+ffn.net.2`."""
    branches: int = 1
    """Devices that share the two passes of a guided step: 1, or 2 with a copy of the transformers on a second one."""
    split: int = 1
    """Devices that share the tokens of each pass, in the same way; not together with `branches`."""

    def __str__(self) -> str:
        words = [self.residency.value, self.precision.value]
        for field in fields(self)[2:]:
            value = getattr(self, field.name)
            if value != field.default:
                text = "+".join(value) if isinstance(value, tuple) else value
                words.append(field.name if value is True else f"{field.name}={text}")
        return ",".join(words)

    @property
    def arithmetic(self) -> str:
        """The settings that decide the bits of the denoised latents."""
        loras = "" if self.lora == "beside" else f",{self.lora}"
        attention = f",{self.attention}" if self.attention else ""
        split = f",split={self.split}" if self.split > 1 else ""
        fused = ",fused" if self.fused else ""
        exact = f",{'+'.join(self.exact)}" if self.exact else ""
        how = f"{self.precision},{self.chunk},{self.compiled},{self.encode},{self.text == 'cpu'}"
        return f"{how}{loras}{attention}{split}{fused}{exact}"

    @property
    def devices(self) -> Devices:
        """The devices that share the clip."""
        return Devices(self.branches, self.split)

    def on_one_device(self) -> MemoryPlan:
        """The same without a second device."""
        return replace(self, branches=1, split=1)


def read_plan(text: str) -> MemoryPlan:
    """The plan of a whole plan's text. Raises GenerationError."""
    words = [word.strip() for word in text.split(",")]
    try:
        values: dict[str, Any] = {"residency": Residency(words[0]), "precision": Precision(words[1])}
        for word in words[2:]:
            name, equals, value = word.partition("=")
            values[name] = _READERS[name](value if equals else "yes")
        if values.get("branches", 1) > 1 and values.get("split", 1) > 1:
            raise ValueError(text)
        return MemoryPlan(**values)
    except (IndexError, KeyError, ValueError) as error:
        raise GenerationError(
            f"'{text[:120]}' is not a memory plan; use {', '.join(Residency)}, or the whole text of one, such as "
            f"'{MemoryPlan(Residency.STREAMED, Precision.INT8)}'."
        ) from error


def is_plan(text: str) -> bool:
    """Whether `read_plan` accepts the text."""
    try:
        read_plan(text)
    except GenerationError:
        return False
    return True


def parse_plan_setting(text: str) -> str:
    """The value of `--plan`, checked: empty, a residency, or a whole plan's text. Raises UserError."""
    if text and text not in set(Residency):
        try:
            read_plan(text)
        except GenerationError as error:
            raise UserError(str(error)) from error
    return text


def _one_of(*allowed: str) -> Any:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return read


def _count(text: str) -> int:
    if not 0 <= int(text) < 2**53:
        raise ValueError(text)
    return int(text)


def _layers(text: str) -> tuple[str, ...]:
    names = text.split("+")
    if not set(names) <= set(LAYERS) or len(set(names)) < len(names):
        raise ValueError(text)
    return tuple(sorted(names))


_READERS: dict[str, Any] = {
    "blocks": _count,
    "chunk": _count,
    "text": _one_of("device", "streamed", "cpu"),
    "tile": _count,
    "vae": _one_of("fp32", "bf16"),
    "encode": _one_of("whole", "tiles"),
    "disk": _count,
    "compiled": lambda text: {"yes": True, "no": False}[text],
    "fused": lambda text: {"yes": True, "no": False}[text],
    "lora": _one_of("beside", "merged"),
    "attention": Attention,
    "branches": lambda text: {"1": 1, "2": 2}[text],
    "split": lambda text: {"1": 1, "2": 2}[text],
    "exact": _layers,
}


def devices_of(text: str) -> Devices:
    """The devices that shared a clip that was made by the plan of this text; one where it cannot be read."""
    try:
        return read_plan(text).devices if text else ONE_DEVICE
    except GenerationError:
        return ONE_DEVICE
