"""What clips are made from and with: for their receipts, for the cache of texts, and to know a checkpoint by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from wan_pipeline.clips.provenance import UNLIKELY, Provenance
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
    """Of one studio's clips, made in one place."""

    def __init__(self, settings: Settings, loras: LoraLibrary, place: Placement) -> None:
        self._settings = settings
        self._loras = loras
        self._place = place
        self._hashes = FileHashes(settings.cache / "hashes")
        self._facts: dict[str, str] | None = None

    def provenance(
        self, request: GenerationRequest, model: InstalledModel, plan: MemoryPlan, attention: str, observer: Observer
    ) -> Provenance:
        """Reads all files the first time. `attention` is the way of it by diffusers' name. Raises Cancelled."""

        def sha256(path: Path) -> str:
            return self._hashes.sha256(path, between=lambda: check_cancelled(observer))

        picture = read_image(self._settings.inputs, request.image)
        chosen = {"quantization": plan.precision.value} | ({} if attention == "native" else {"attention": attention})
        return Provenance(
            model=model.spec.id,
            revision=model.revision,
            model_files={name: sha256(path) for name, path in model.weight_files().items()},
            loras={name: sha256(path) for lora in request.loras for name, path in self._loras.files(lora.name).items()},
            image=None if picture is None else pixels_sha256(picture),
            plan=str(plan),
            environment=self._environment() | chosen,
        )

    def text_setup(self) -> str:
        """All that an embedding's bits depend on beside the text, the model and the device."""
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
        """Of the plan only what decides the latents matters: it may move weights about otherwise than before.

        A first-block cache remembers what is in no checkpoint: such a clip is made in one go.
        """
        if path is None or request.first_block_cache:
            return None
        decisive = [request.to_dict(), model.fingerprint, provenance.loras, provenance.environment, plan.arithmetic]
        identity = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
        return Checkpoint(path, identity, self._settings.checkpoint_seconds, self._place.device)

    def _environment(self) -> dict[str, str]:
        self._facts = self._facts or fixed_facts(self._place)
        return self._facts | torch_settings(self._place.device)
