"""Whether the keys that a LoRA file has for a module make whole changes, and fit it. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from wan_pipeline.errors import LoraError
from wan_pipeline.lora.changes import DECOMPOSED, ROLES, Change, Keys, Kind, Shape
from wan_pipeline.lora.reading.keys import Role
from wan_pipeline.lora.reading.metadata import AdapterSettings
from wan_pipeline.models.weights import TensorInfo

MAX_RANK = 4096
FLOATS = frozenset({"F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64"})


@dataclass(frozen=True)
class Module:
    """One module of the model, and the keys that a file has for it."""

    name: str
    shape: Shape
    """Of its weight: (outputs, inputs), or with a kernel after them; a norm's has one side. A table's own shape."""
    keys: Keys
    names: tuple[str, ...]
    """What settings may call it: its own name, and the file's."""


@dataclass(frozen=True)
class Fit:
    """What of a module's keys can be applied."""

    changes: tuple[Change, ...]
    misfits: dict[str, str]
    """What is left out, and why, as the end of a sentence: whole weights of a related model, by key."""


def fit_module(file: str, module: Module, tensors: Mapping[str, TensorInfo], settings: AdapterSettings) -> Fit:
    """All changes of one module. Raises LoraError for half a change, or one that was made for another model."""
    for role, key in module.keys.items():
        if tensors[key].dtype not in FLOATS and role is not Role.ON_INPUT:
            raise LoraError(f"LoRA '{file}' holds {tensors[key].dtype} numbers; only floating point is supported.")
    misfits = _misfits(module, tensors)
    keys = {role: key for role, key in module.keys.items() if key not in misfits}
    reader = _Reader(file, replace(module, keys=keys), tensors, settings)
    found = tuple(reader.change(kind, own) for kind in ROLES if (own := _own_keys(kind, keys)))
    left = keys.keys() - {role for change in found for role in change.keys} - {Role.ALPHA}
    if left:  # a magnitude alone
        raise LoraError(f"LoRA '{file}' has {keys[min(left)]} without the matrices beside it; export it again.")
    return Fit(found, misfits)


def _own_keys(kind: Kind, keys: Keys) -> Keys:
    """A change's keys without alpha: those of its kind, a pair's bias, and DoRA's magnitude."""
    own = {role: key for role, key in keys.items() if role in ROLES[kind]}
    if kind is Kind.DIFF and Role.DOWN in keys:
        own.pop(Role.BIAS, None)  # the pair adds it
    if own and kind is Kind.LORA and {Role.DOWN, Role.BIAS} <= keys.keys():
        own[Role.BIAS] = keys[Role.BIAS]
    if own and kind in DECOMPOSED and Role.MAGNITUDE in keys:
        own[Role.MAGNITUDE] = keys[Role.MAGNITUDE]
    if Role.OFT_BLOCKS in own and Role.ALPHA in keys:
        own[Role.ALPHA] = keys[Role.ALPHA]  # the constraint, and no scale
    return own


def _misfits(module: Module, tensors: Mapping[str, TensorInfo]) -> dict[str, str]:
    """A difference to a weight of another shape, and the bias with it: files for image-to-video hold such."""
    key = module.keys.get(Role.DIFF)
    if key is None or _bare(tensors[key].shape) == _bare(module.shape):
        return {}
    reason = f"{key}, which is {tensors[key].shape} where the model has {module.shape}"
    with_it = [] if Role.DOWN in module.keys else [module.keys[Role.BIAS]] if Role.BIAS in module.keys else []
    return {key: reason} | dict.fromkeys(with_it, reason)


class _Reader:
    """Makes the changes of one module."""

    def __init__(self, file: str, module: Module, tensors: Mapping[str, TensorInfo], settings: AdapterSettings) -> None:
        self._file, self._module, self._settings = file, module, settings
        self._shapes = {role: tensors[key].shape for role, key in module.keys.items()}
        self._has_decomposed = any(ROLES[kind] & module.keys.keys() for kind in DECOMPOSED)

    def change(self, kind: Kind, keys: Keys) -> Change:
        rank = self._check(kind)
        self._check_vectors()
        alpha_key = self._module.keys.get(Role.ALPHA)
        return Change(
            kind,
            self._module.name,
            self._module.shape,
            keys,
            rank,
            self._settings.alpha_of(*self._module.names) if kind in DECOMPOSED else None,
            alpha_key if kind in DECOMPOSED or not (self._has_decomposed or Role.ALPHA in keys) else None,
            self._settings.uses_root,
            self._settings.oft_terms or 0,
        )

    def _check(self, kind: Kind) -> int:
        """The rank; 0 for a kind that has none. Raises LoraError."""
        match kind:
            case Kind.LORA:
                return self._check_pair()
            case Kind.LOKR:
                return self._check_lokr()
            case Kind.LOHA:
                return self._check_loha()
            case Kind.OFT:
                return self._check_oft()
            case Kind.IA3:
                return self._check_ia3()
            case Kind.DIFF:
                return 0

    def _check_pair(self) -> int:
        shapes, keys, module = self._shapes, self._module.keys, self._module
        if not {Role.DOWN, Role.UP} <= keys.keys():
            raise LoraError(f"LoRA '{self._file}' has only one of the two matrices of {module.name}; export it again.")
        self._require(len(module.shape) >= 2, Role.DOWN)
        outputs, inputs, *kernel = module.shape
        down, up = shapes[Role.DOWN], shapes[Role.UP]
        if not kernel:
            down, up = _without_ones(down, up)
        if not kernel and (len(down) != 2 or not 1 <= down[0] <= MAX_RANK):
            raise LoraError(f"LoRA '{self._file}': {keys[Role.DOWN]} has the shape {down}; export it again.")
        rank = down[0] if down else 0
        is_pair = down == (rank, inputs) and up == (outputs, rank) if not kernel else self._is_convolution(rank)
        if not is_pair or not 1 <= rank <= MAX_RANK:
            raise LoraError(
                f"LoRA '{self._file}' was made for a model of another size: {module.name} is {module.shape} here, and "
                f"its matrices are {up} and {down}; choose a LoRA that was trained for this model."
            )
        return rank

    def _is_convolution(self, rank: int) -> bool:
        outputs, inputs, *kernel = self._module.shape
        down, up, mid = (self._shapes.get(role, ()) for role in (Role.DOWN, Role.UP, Role.MID))
        inner = inputs if mid else inputs * math.prod(kernel)
        return (
            rank > 0
            and math.prod(down) == rank * inner
            and up[:1] == (outputs,)
            and math.prod(up) == outputs * rank
            and (not mid or mid == (rank, rank, *kernel))
        )

    def _check_lokr(self) -> int:
        """LyCORIS, `lycoris/modules/lokr.py`: a Kronecker product of two matrices, each whole or of two factors."""
        shapes, rank = self._shapes, 0
        sides: list[Shape] = []
        for whole, a, b in (
            (Role.LOKR_W1, Role.LOKR_W1_A, Role.LOKR_W1_B),
            (Role.LOKR_W2, Role.LOKR_W2_A, Role.LOKR_W2_B),
        ):
            if whole in shapes:
                sides.append(shapes[whole])
                continue
            self._require(a in shapes and b in shapes and len(shapes[a]) == len(shapes[b]) == 2, whole)
            is_tucker = whole is Role.LOKR_W2 and Role.LOKR_T2 in shapes
            found = shapes[b][0]
            self._require((shapes[a][0] if is_tucker else shapes[a][1]) == found, a)
            rank = rank or found
            kernel = shapes[Role.LOKR_T2][2:] if is_tucker else ()
            sides.append((shapes[a][1] if is_tucker else shapes[a][0], shapes[b][1], *kernel))
        self._require(all(len(side) >= 2 for side in sides), Role.LOKR_W1)
        outputs, size = sides[0][0] * sides[1][0], math.prod(sides[0]) * math.prod(sides[1])
        self._require(outputs == self._module.shape[0] and size == math.prod(self._module.shape), Role.LOKR_W2)
        return rank or self._settings.rank_of(*self._module.names) or 0

    def _check_loha(self) -> int:
        """LyCORIS, `lycoris/modules/loha.py`: the product, element by element, of two matrices of two factors each."""
        shapes = self._shapes
        factors = (Role.HADA_W1_A, Role.HADA_W1_B, Role.HADA_W2_A, Role.HADA_W2_B)
        self._require(all(len(shapes.get(role, ())) == 2 for role in factors), Role.HADA_W1_A)
        rank = shapes[Role.HADA_W1_B][0]
        outputs, inner = self._module.shape[0], math.prod(self._module.shape[1:])
        for a, b, t in (
            (Role.HADA_W1_A, Role.HADA_W1_B, Role.HADA_T1),
            (Role.HADA_W2_A, Role.HADA_W2_B, Role.HADA_T2),
        ):
            rows, columns, core = shapes[a], shapes[b], shapes.get(t)
            if core is None:
                self._require(rows == (outputs, columns[0]) and columns[1] == inner, a)
            else:
                kernel = self._module.shape[2:]
                self._require(core == (rows[0], columns[0], *kernel), t)
                self._require(rows[1] == outputs and columns[1] == self._module.shape[1], a)
        return rank

    def _check_oft(self) -> int:
        """peft, `peft/tuners/oft/layer.py`: rotations of blocks of the inputs, one each or one for all."""
        if Role.OFT_BLOCKS in self._shapes:
            return self._check_oft_blocks()
        self._require(Role.OFT_R in self._shapes, Role.RESCALE)
        shape = self._shapes[Role.OFT_R]
        self._require(len(self._module.shape) == len(shape) == 2, Role.OFT_R)
        blocks, size = shape[0], oft_block(shape[1])
        inputs = self._module.shape[1]
        self._require(
            size * (size - 1) // 2 == shape[1] and (blocks * size == inputs or (blocks == 1 and inputs % size == 0)),
            Role.OFT_R,
        )
        if self._settings.oft_terms is None:
            raise LoraError(
                f"LoRA '{self._file}' is an OFT without its settings; put its adapter_config.json beside it, and call "
                "the file adapter_model.safetensors."
            )
        return 0

    def _check_oft_blocks(self) -> int:
        """LyCORIS, `lycoris/modules/diag_oft.py`: rotations of blocks of the outputs, and a factor for each output."""
        shape, outputs = self._shapes[Role.OFT_BLOCKS], self._module.shape[0]
        if len(shape) == 4:
            raise LoraError(
                f"LoRA '{self._file}' is of the kind BOFT, which is not supported; use a LoRA, DoRA, LoKr, LoHa or OFT."
            )
        self._require(len(self._module.shape) >= 2 and len(shape) == 3, Role.OFT_BLOCKS)
        self._require(shape[1] == shape[2] and shape[0] * shape[1] == outputs, Role.OFT_BLOCKS)
        ones = (1,) * (len(self._module.shape) - 1)
        self._require(self._shapes.get(Role.RESCALE, (outputs, *ones)) == (outputs, *ones), Role.RESCALE)
        return 0

    def _check_ia3(self) -> int:
        """peft, `peft/tuners/ia3/layer.py`; LyCORIS, `lycoris/modules/ia3.py`."""
        self._require(len(self._module.shape) == 2, Role.IA3)
        outputs, inputs = self._module.shape
        if Role.IA3 not in self._shapes:
            found = self._shapes.get(Role.IA3_DIFF)
            self._require(found in ((outputs,), (inputs,)), Role.ON_INPUT)
            self._check_shape(Role.ON_INPUT, ((), (1,)), "one number")
            return 0
        self._require(self._shapes[Role.IA3] in ((outputs, 1), (1, inputs)), Role.IA3)
        return 0

    def _check_vectors(self) -> None:
        """Biases, alpha and magnitude."""
        for role in (Role.BIAS, Role.UP_BIAS):
            self._check_shape(role, (self._module.shape[:1],), "one number for each output")
        self._check_shape(Role.ALPHA, ((), (1,)), "one number")
        outputs, *rest = self._module.shape
        ones = (1,) * len(rest)
        allowed: tuple[Shape, ...] = ((outputs,), (outputs, *ones), (1, *rest[:1], *ones[1:]))
        if len(rest) > 1:
            allowed += ((1, outputs, *ones[1:]),)  # as peft writes it of convolutions
        self._check_shape(Role.MAGNITUDE, allowed, "one number for each output or each input")

    def _check_shape(self, role: Role, allowed: tuple[Shape, ...], what: str) -> None:
        if role in self._shapes and self._shapes[role] not in allowed:
            raise LoraError(f"LoRA '{self._file}': {self._module.keys[role]} is not {what}; export it again.")

    def _require(self, holds: bool, role: Role) -> None:
        if not holds:
            key = self._module.keys.get(role) or next(iter(self._module.keys.values()))
            shapes = ", ".join(f"{role} {shape}" for role, shape in self._shapes.items())
            raise LoraError(
                f"LoRA '{self._file}': {key} does not fit {self._module.name}, which is {self._module.shape} here "
                f"({shapes[:200]}); choose a LoRA that was trained for this model."
            )


def oft_block(numbers: int) -> int:
    """The side of a skew matrix with this many numbers above its diagonal."""
    return (1 + math.isqrt(1 + 8 * numbers)) // 2


def _without_ones(*shapes: Shape) -> tuple[Shape, ...]:
    """The shapes without the sides of a 1 x 1 convolution, where all of them are one."""
    is_convolution = all(len(shape) in (3, 4, 5) and set(shape[2:]) == {1} for shape in shapes)
    return tuple(shape[:2] for shape in shapes) if is_convolution else shapes


def _bare(shape: Shape) -> Shape:
    return tuple(side for side in shape if side != 1)
