"""Does a LoRA fit a model, and which of its files goes to which expert? No torch.

Asked when a clip is submitted, long before any weights load, and again when it is made.
"""

from __future__ import annotations

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.adapter import Adapter, match_adapter
from wan_pipeline.lora.library import Lora
from wan_pipeline.models.library import InstalledModel


def match_adapters(lora: Lora, model: InstalledModel, weight: float = 1.0) -> list[Adapter]:
    """A choice's files, each laid out for the transformers that it is for.

    Raises LoraError if one is unreadable, unsafe, of a wrong shape, or matches nothing in the model.
    """
    if not model.has_two_experts:
        if lora.is_pair:
            halves = " or ".join(path.stem for path in lora.paths)
            raise LoraError(
                f"LoRA '{lora.name}' is a pair for the two experts of Wan 2.2 A14B, and {model.spec.title} has one; "
                f"choose another LoRA, or one half by its own name: {halves}."
            )
        return [match_adapter(lora.paths[0], model, weight)]
    if lora.high == lora.low:
        return [match_adapter(lora.paths[0], model, weight, experts=(0, 1))]
    halves_of = {0: lora.high, 1: lora.low}
    return [
        match_adapter(path, model, weight, experts=(expert,), is_half=lora.is_half)
        for expert, path in halves_of.items()
        if path is not None
    ]
