"""The header of a LoRA file, within limits. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.reading.metadata import with_settings_beside
from wan_pipeline.models.weights import DamagedFileError, Header, read_header, with_remedy

MAX_HEADER_BYTES = 4 * 2**20
MAX_TENSORS = 20_000
MAX_KEY_LENGTH = 300
OTHER_KINDS = (
    (re.compile(r"\.(a1|a2|b1|b2|bm)\.weight$"), "GLoRA"),
    (re.compile(r"\.vera_lambda_"), "VeRA"),
    (re.compile(r"\.lora_E\b"), "AdaLoRA"),
    (re.compile(r"\.boft_[rs]\b", re.IGNORECASE), "BOFT"),
    (re.compile(r"\.hra_u\b"), "HRA"),
    (
        re.compile(r"\.(randlora_|fourierft_|c3a_kernel|shira_|bone_block|miss_block|waveft_)"),
        "RandLoRA, FourierFT or similar",
    ),
    (re.compile(r"\.(set_weight|reshape_weight)$"), "replaced weights"),
)
"""Kinds of adapters that are not supported, by a part of their keys."""
_OTHER_KIND = re.compile("|".join(f"(?:{mark.pattern})" for mark, _ in OTHER_KINDS), re.IGNORECASE)


def read_lora_header(path: Path) -> Header:
    """The header of a file, within limits. Raises LoraError."""
    try:
        header = with_settings_beside(path, read_header(path, MAX_HEADER_BYTES, MAX_TENSORS))
    except (DamagedFileError, OSError) as error:
        reason = with_remedy(error, "download or export it again")
        raise LoraError(f"LoRA '{path.stem}' cannot be read: {reason}.") from error
    for key in header.tensors:
        if len(key) > MAX_KEY_LENGTH or not key.isprintable() or any(part in key for part in ("/", "\\", "..")):
            raise LoraError(f"LoRA '{path.stem}' has an unsafe key {key[:60]!r}; use a file from a source you trust.")
        for mark, kind in OTHER_KINDS if _OTHER_KIND.search(key) else ():
            if mark.search(key):
                raise LoraError(
                    f"LoRA '{path.stem}' is of the kind {kind}, which is not supported; use a LoRA, DoRA, LoKr or LoHa."
                )
    return header
