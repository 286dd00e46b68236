"""Records what clips are made from and how: for receipts, for cached prompts, and as the identity of checkpoints."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from wan_pipeline.clips.provenance import UNLIKELY, Provenance
from wan_pipeline.engine.attention.backends import backend_text
from wan_pipeline.engine.checkpoint import Checkpoint
from wan_pipeline.engine.conditioning import read_image
from wan_pipeline.engine.device.environment import fixed_facts, torch_settings
from wan_pipeline.engine.device.placement import Placement
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models.library import InstalledModel
from wan_pipeline.planning.memory_plan import MemoryPlan
from wan_pipeline.progress import Observer, check_cancelled
from wan_pipeline.requests.request import GenerationRequest
from wan_pipeline.settings import Settings
from wan_pipeline.storage.hashes import FileHashes, pixels_sha256


class ProvenanceRecorder:
    """For the clips of one studio that are made on one device."""

    def __init__(self, settings: Settings, loras: LoraLibrary, place: Placement) -> None:
        self._settings = settings
        self._loras = loras
        self._place = place
        self._hashes = FileHashes(settings.cache / "hashes")
        self._facts: dict[str, str] | None = None

    def provenance(
        self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan, fastest: str, observer: Observer
    ) -> Provenance:
        """Hash all files, which reads each of them the first time. Raises Cancelled.

        `fastest` is the name in diffusers of the exact attention backend that plans use which name none.
        """

        def sha256(path: Path) -> str:
            return self._hashes.sha256(path, between=lambda: check_cancelled(observer))

        image = read_image(self._settings.inputs, request.image)
        attention = backend_text(plan.attention, fastest)
        chosen = {"quantization": plan.precision.value} | ({} if attention == "native" else {"attention": attention})
        return Provenance(
            model=model.spec.id,
            revision=model.revision,
            model_files={name: sha256(path) for name, path in model.weight_files().items()},
            loras={name: sha256(path) for lora in request.loras for name, path in self._loras.files(lora.name).items()},
            image=None if image is None else pixels_sha256(image),
            plan=str(plan),
            environment=self._environment() | chosen,
        )

    def text_setup(self) -> str:
        """What decides an embedding's bits beside the text, the model and the device."""
        facts = {name: fact for name, fact in self._environment().items() if name not in UNLIKELY}
        return json.dumps(facts, sort_keys=True)

    def checkpoint(
        self,
        path: Path | None,
        request: GenerationRequest,
        model: InstalledModel,
        plan: MemoryPlan,
        provenance: Provenance,
    ) -> Checkpoint | None:
        """The clip's checkpoint; None for no path, or for a step cache, whose state no checkpoint holds.

        Its identity holds only the part of the plan that decides the latents: a resumed run may move weights otherwise.
        """
        if path is None or request.step_cache:
            return None
        settings = {name: value for name, value in request.to_dict().items() if name != "notes"}
        decisive = [settings, model.fingerprint, provenance.loras, provenance.environment, plan.arithmetic]
        identity = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return Checkpoint(path, identity, plan, self._settings.checkpoint_seconds, self._place.device)

    def _environment(self) -> dict[str, str]:
        self._facts = self._facts or fixed_facts(self._place)
        return self._facts | torch_settings(self._place.device)
