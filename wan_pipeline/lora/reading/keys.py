"""Maps the keys of LoRA files to modules of diffusers' WanTransformer3DModel. No torch.

Trainers spell the same module in many ways: with any prefix, in the names of diffusers or of the Wan authors, with dots
or (kohya) with underscores. Instead of converting each dialect, every spelling of every module of a model is listed,
and a file's name is matched from its end: what is left before the longest spelling is the file's prefix.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import NamedTuple

# Replacements that turn diffusers' names into the authors' (Wan repositories, `wan/modules/model.py`).
AUTHORS_NAMES = (
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.add_([kv])_proj$", r".cross_attn.\1_img"),
    (r"\.attn2\.norm_added_k$", ".cross_attn.norm_k_img"),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])$", r".\1"),
    (r"\.to_out\.0$", ".o"),
    (r"\.ffn\.net\.0\.proj$", ".ffn.0"),
    (r"\.ffn\.net\.2$", ".ffn.2"),
    (r"^((?:vace_)?blocks\.\d+)\.norm2$", r"\1.norm3"),
    (r"^((?:vace_)?blocks\.\d+)\.scale_shift_table$", r"\1.modulation"),
    (r"^(vace_blocks\.\d+)\.proj_in$", r"\1.before_proj"),
    (r"^(vace_blocks\.\d+)\.proj_out$", r"\1.after_proj"),
    (r"^condition_embedder\.text_embedder\.linear_1$", "text_embedding.0"),
    (r"^condition_embedder\.text_embedder\.linear_2$", "text_embedding.2"),
    (r"^condition_embedder\.time_embedder\.linear_1$", "time_embedding.0"),
    (r"^condition_embedder\.time_embedder\.linear_2$", "time_embedding.2"),
    (r"^condition_embedder\.time_proj$", "time_projection.1"),
    (r"^condition_embedder\.image_embedder\.norm1$", "img_emb.proj.0"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj$", "img_emb.proj.1"),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2$", "img_emb.proj.3"),
    (r"^condition_embedder\.image_embedder\.norm2$", "img_emb.proj.4"),
    (r"^condition_embedder\.image_embedder\.pos_embed$", "img_emb.emb_pos"),
    (r"^proj_out$", "head.head"),
    (r"^scale_shift_table$", "head.modulation"),
)


class Role(StrEnum):
    """What a tensor of a LoRA file is to its module."""

    DOWN = "down"
    """(rank, inputs) of a low-rank pair."""
    UP = "up"
    """(outputs, rank)."""
    MID = "mid"
    """(rank, rank, kernel) of a pair for a convolution, in Tucker's decomposition."""
    UP_BIAS = "up_bias"
    """Bias of the pair's second layer, scaled as the pair is (peft's `lora_bias`)."""
    ALPHA = "alpha"
    DIFF = "diff"
    """Added to the weight, or to a table such as the modulation."""
    BIAS = "bias"
    """Added to the module's bias."""
    MAGNITUDE = "magnitude"
    """DoRA's norm of each row, or column, of the changed weight."""
    OFT_R = "oft_r"
    """(blocks, numbers above the diagonal) of the skew matrices that OFT's rotations are made of."""
    OFT_BLOCKS = "oft_blocks"
    """(blocks, side, side) of what LyCORIS makes OFT's skew matrices of. Alpha beside it is OFT's constraint."""
    RESCALE = "rescale"
    """(outputs, 1): what LyCORIS' OFT multiplies each output by after its rotation."""
    IA3 = "ia3_l"
    """(IA)3's factors: (outputs, 1), or (1, inputs)."""
    IA3_DIFF = "ia3_diff"
    """The same as LyCORIS writes them, less 1: (outputs) or (inputs)."""
    ON_INPUT = "on_input"
    """Whether those are of the inputs: 0 or 1."""
    LOKR_W1 = "lokr_w1"
    LOKR_W1_A = "lokr_w1_a"
    LOKR_W1_B = "lokr_w1_b"
    LOKR_W2 = "lokr_w2"
    LOKR_W2_A = "lokr_w2_a"
    LOKR_W2_B = "lokr_w2_b"
    LOKR_T2 = "lokr_t2"
    HADA_W1_A = "hada_w1_a"
    HADA_W1_B = "hada_w1_b"
    HADA_W2_A = "hada_w2_a"
    HADA_W2_B = "hada_w2_b"
    HADA_T1 = "hada_t1"
    HADA_T2 = "hada_t2"


_PARTS = {
    "lora_A": Role.DOWN,
    "lora_down": Role.DOWN,
    "lora.down": Role.DOWN,
    "lora_linear_layer.down": Role.DOWN,
    "lora_B": Role.UP,
    "lora_up": Role.UP,
    "lora.up": Role.UP,
    "lora_linear_layer.up": Role.UP,
    "lora_mid": Role.MID,
    "alpha": Role.ALPHA,
    "diff": Role.DIFF,
    "w_norm": Role.DIFF,
    "diff_m": Role.DIFF,
    "diff_b": Role.BIAS,
    "b_norm": Role.BIAS,
    "dora_scale": Role.MAGNITUDE,
    "lora_magnitude_vector": Role.MAGNITUDE,
    "oft_R": Role.OFT_R,
    "oft_blocks": Role.OFT_BLOCKS,
    "rescale": Role.RESCALE,
    "ia3_l": Role.IA3,
    "on_input": Role.ON_INPUT,
    **{role.value: role for role in Role if role.value.startswith(("lokr_", "hada_"))},
}
_NAMES = "|".join(re.escape(part) for part in sorted(_PARTS, key=len, reverse=True))
_KEY = re.compile(rf"^(?P<module>.+?)\.(?P<part>{_NAMES})(?P<adapter>\.[\w-]+)??(?P<end>\.weight|\.bias)?$")
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|base_layer)\.")
"""What torch and peft put into the names of modules that they wrap."""


class KeyParts(NamedTuple):
    module: str
    """As the file spells it."""
    role: Role


def split_key(key: str) -> KeyParts | None:
    """The module and role of a key; None if it is no part of a LoRA."""
    match = _KEY.match(key)
    if match is None:
        return None
    module, role = _WRAPPERS.sub("", match["module"]), _PARTS[match["part"]]
    if match["end"] == ".bias":
        return KeyParts(module, Role.UP_BIAS) if role is Role.UP else None
    if match["part"] == "diff_m":  # of the block or the head that holds the table
        return KeyParts(f"{module}.modulation" if "." in module else f"{module}_modulation", role)
    return KeyParts(module, role)


def split_keys(keys: Iterable[str]) -> dict[str, KeyParts]:
    """Select the keys that are parts of a LoRA. LyCORIS calls (IA)3's factors a weight, with `on_input` beside it."""
    names = list(keys)
    split = {key: parts for key in names if (parts := split_key(key))}
    marks = {f"{key.removesuffix('.on_input')}.weight": split[key] for key in split if key.endswith(".on_input")}
    return split | {key: KeyParts(marks[key].module, Role.IA3_DIFF) for key in names if key in marks}


class Place(NamedTuple):
    """Where a file's name of a module leads."""

    target: str
    """Diffusers' name of the module, or of a parameter such as `scale_shift_table`."""
    prefix: str
    expert: int | None
    """The expert that the prefix names: 0 high noise, 1 low noise; None if it names none."""


_HIGH = re.compile(r"(?:^|(?<=[._]))high_?noise(?:_model)?(?:[._]|$)")
_LOW = re.compile(r"(?:^|(?<=[._]))(?:low_?noise(?:_model)?|(?:transformer|dit|unet|model)_?2)(?:[._]|$)")
_NUMBER = re.compile(r"(?:^|[._])\d+(?:[._]|$)")
"""Prefixes that lead into a part of a model, such as `vace_blocks.3.`, not to the whole."""
_OTHER_BLOCKS = re.compile(
    r"(?:^|[._])(?:vace|single|double|down|up|mid|middle|joint|fuser|face|audio|input|output|refiner|control|motion)_$"
)
"""With underscores `vace_blocks_0` looks like a prefix `vace_` and `blocks_0`: these words name another list."""


class Spellings:
    """Finds a model's modules by any of their spellings."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._modules = {spelling: module for module in modules for spelling in _spellings(module)}

    def place(self, name: str) -> Place | None:
        """The module with the longest spelling that `name` ends with, after a prefix that is one of a whole model."""
        for start in _starts(name):
            target = self._modules.get(name[start:])
            if target is not None:
                prefix = name[:start]
                expert = 0 if _HIGH.search(prefix) else 1 if _LOW.search(prefix) else None
                return Place(target, prefix, expert) if _is_whole_model(prefix, name[start:]) else None
        return None

    def place_all(self, names: Iterable[str]) -> dict[str, Place]:
        """The places of a file's names. Short names such as `proj_out` count only with the prefix of its blocks."""
        places = {name: place for name in names if (place := self.place(name))}
        of_blocks = {place.prefix for place in places.values() if "blocks." in place.target}
        if not of_blocks:
            return places
        return {name: place for name, place in places.items() if "blocks." in place.target or place.prefix in of_blocks}


def authors_name(module: str) -> str:
    """The name that the Wan authors, and most LoRA files, give a module of diffusers."""
    theirs = module
    for pattern, replacement in AUTHORS_NAMES:
        theirs = re.sub(pattern, replacement, theirs)
    return theirs


def _spellings(module: str) -> Iterator[str]:
    for name in (module, authors_name(module)):
        yield name
        yield name.replace(".", "_")


def _starts(name: str) -> Iterator[int]:
    """Where a spelling may begin: at the start of the name, and after each dot or underscore."""
    yield 0
    yield from (match.end() for match in re.finditer(r"[._]", name))


def _is_whole_model(prefix: str, spelling: str) -> bool:
    """Whether the prefix before a spelling means the whole model, not a part of another one."""
    plain = _LOW.sub("", _HIGH.sub("", prefix))
    if _NUMBER.search(plain):
        return False
    if not plain.endswith("_"):
        return True
    if "." in spelling:  # dotted names begin after a dot
        return False
    return not _OTHER_BLOCKS.search(plain)
