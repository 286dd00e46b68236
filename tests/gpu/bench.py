"""What the tests of accelerators share: clips of the demo model on the device, likeness, and a LoRA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.support.observers import Recorder
from tests.support.requests import make_request
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.engine.engine import Engine
from wan_pipeline.engine.int8.product import computes_int8
from wan_pipeline.engine.memory.quantized_layers import computes_fp8
from wan_pipeline.engine.rendered import Rendered
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings


@dataclass(frozen=True)
class Bench:
    """The device under test, and clips of the bundled demo model on it."""

    place: Placement
    settings: Settings
    engine: Engine
    table: list[str]
    """Lines of the table that is printed at the end."""

    @property
    def native(self) -> str:
        """The precision of the device's own dtype."""
        return "fp32" if self.place.on_cpu else "bf16"

    def skip_unless_able(self, precision: str) -> None:
        if precision == "fp8-compute" and not (self.place.on_cpu or computes_fp8(self.place.device)):
            pytest.skip("this device does not compute in fp8")
        if precision == "int8-compute" and not (self.place.on_cpu or computes_int8(self.place.device)):
            pytest.skip("this device does not compute in int8")
        if precision.startswith("fp8") and self.place.device.type == "mps":
            pytest.skip("this device has no fp8")

    def request(self, **changes: object) -> GenerationRequest:
        """A clip of 15 x 10 x 5 latent tokens."""
        size = {"width": 160, "height": 96, "num_frames": 17, "num_inference_steps": 4}
        return make_request(**size | {"styled_prompt": "a red balloon flies up over green hills"} | changes)

    def render(self, plan: str, request: GenerationRequest | None = None, **more: object) -> Rendered:
        """By this plan, in which NATIVE stands for the device's own precision."""
        plan = plan.replace("NATIVE", self.native)
        rendered = self.engine.render(request or self.request(), Recorder(), plan=plan, **more)
        assert rendered.provenance.plan == plan
        assert rendered.provenance.environment["device"] == self.place.device.type
        return rendered

    def measured(self, what: str, value: float) -> None:
        """Add a number to the table."""
        self.table.append(f"| {what} | {value:.4g} |")


def psnr(frames: np.ndarray, others: np.ndarray) -> float:
    """In dB; infinite for equal frames."""
    error = np.square(frames.astype(np.float64) - others).mean()
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def write_lora(path: Path, strength: float = 0.05) -> None:
    """A LoRA for the demo model's transformer, in fp32."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for module in ("blocks.0.attn1.to_q", "blocks.3.attn2.to_v", "blocks.7.attn1.to_out.0"):
        for name, shape in (("lora_A", (4, 320)), ("lora_B", (320, 4))):
            tensors[f"transformer.{module}.{name}.weight"] = torch.randn(shape, generator=generator) * strength
    save_file(tensors, path)
