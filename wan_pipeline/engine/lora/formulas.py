"""What a LoRA's tensors add to a weight, by the formulas of the libraries that train them.

LyCORIS: `lycoris/modules/{full,lokr,loha,locon,diag_oft,ia3}.py`, `lycoris/functional/general.py`.
peft: `peft/tuners/`. All in fp32. `rows` is a part of the weight's outputs.
"""

from __future__ import annotations

import torch

from wan_pipeline.lora.changes import Change, Kind
from wan_pipeline.lora.fit import oft_block
from wan_pipeline.lora.reading.keys import Role

Tensors = dict[Role, torch.Tensor]
PART_ELEMENTS = 2**24
"""Numbers of a weight computed at once, in fp32: 64 MiB. The largest layers of a 14B model have four times as many."""


def parts_of(change: Change, tensors: Tensors) -> list[slice]:
    """The weight's outputs in parts of at most about PART_ELEMENTS numbers. Kernels of convolutions stay whole."""
    outputs = change.shape[0]
    if len(change.shape) != 2:
        return [slice(0, outputs)]
    step = max(PART_ELEMENTS // change.shape[1], 1)
    if change.kind is Kind.LOKR:  # a product of whole rows of the first matrix with all of the second
        inner = _second(tensors).shape[0]
        step = max(step // inner, 1) * inner
    if Role.OFT_BLOCKS in tensors:  # whole blocks
        side = tensors[Role.OFT_BLOCKS].shape[1]
        step = max(step // side, 1) * side
    return [slice(start, min(start + step, outputs)) for start in range(0, outputs, step)]


def added(change: Change, tensors: Tensors, scale: float, rows: slice) -> torch.Tensor:
    """What is added to these rows of the weight, before DoRA's magnitudes."""
    match change.kind:
        case Kind.LORA:
            delta = _pair(tensors, rows) * scale
        case Kind.LOKR:
            delta = _lokr(tensors, rows) * scale
        case Kind.LOHA:
            delta = _loha(tensors, rows) * scale
        case Kind.DIFF:
            delta = tensors[Role.DIFF].reshape(change.shape)[rows]
        case Kind.OFT | Kind.IA3:
            raise ValueError(f"{change.kind} multiplies a weight; see `multiplied`")
    return delta.reshape(-1, *change.shape[1:])


def multiplied(change: Change, tensors: Tensors, base: torch.Tensor, rows: slice) -> torch.Tensor:
    """These rows of a weight after OFT's rotations or (IA)3's factors. `base` holds the rows alone."""
    if Role.OFT_BLOCKS in tensors:
        return _rotated(tensors, base, rows, change.shape[0])
    if Role.IA3_DIFF in tensors:
        return _scaled(tensors, base, rows, change.shape)
    if change.kind is Kind.IA3:
        factors = tensors[Role.IA3]
        return base * (factors[rows] if len(factors) == change.shape[0] else factors)
    rotation = cayley(tensors[Role.OFT_R], change.cayley_terms)
    blocks = base.reshape(len(base), -1, rotation.shape[-1])
    return torch.einsum("orc,rkc->ork", blocks, rotation.expand(blocks.shape[1], -1, -1)).flatten(1)


def _rotated(tensors: Tensors, base: torch.Tensor, rows: slice, outputs: int) -> torch.Tensor:
    """Each block of outputs times its rotation, transposed, as `DiagOFTModule.make_weight` of LyCORIS does it.

    (I + Q)(I - Q)^-1, with Q made shorter where the norm of all of it exceeds the constraint times the outputs.
    """
    blocks = tensors[Role.OFT_BLOCKS]
    skew, side = blocks - blocks.transpose(-2, -1), blocks.shape[1]
    if Role.ALPHA in tensors:
        limit, norm = tensors[Role.ALPHA].reshape(()) * outputs, torch.linalg.vector_norm(skew) + 1e-8
        skew = skew * torch.where((limit > 0) & (norm > limit), limit / norm, 1.0)
    skew = skew[rows.start // side : rows.stop // side]
    identity = torch.eye(side, dtype=skew.dtype, device=skew.device).expand_as(skew)
    rotation = torch.linalg.solve(identity - skew, identity + skew, left=False)
    turned = torch.einsum("bnm,bni->bmi", rotation, base.reshape(len(skew), side, -1)).reshape(base.shape)
    return turned * tensors[Role.RESCALE][rows] if Role.RESCALE in tensors else turned


def _scaled(tensors: Tensors, base: torch.Tensor, rows: slice, shape: tuple[int, ...]) -> torch.Tensor:
    """(IA)3 as LyCORIS writes it. Only where a weight is square its mark has to tell which side is meant."""
    factors = tensors[Role.IA3_DIFF] + 1
    if shape[0] != shape[1]:
        return base * (factors[rows, None] if len(factors) == shape[0] else factors)
    return torch.where(tensors[Role.ON_INPUT] > 0, base * factors, base * factors[rows, None])


def cayley(upper: torch.Tensor, terms: int) -> torch.Tensor:
    """Rotations, (blocks, size, size), of skew matrices by their numbers above the diagonal, (blocks, numbers).

    `OFTRotationModule._cayley_batch` in `peft/tuners/oft/layer.py`: (I + Q)^-1 (I - Q) of the transposed, or the first
    `terms` terms of its Neumann series, 0 for the whole of it.
    """
    size = oft_block(upper.shape[1])
    row, column = torch.triu_indices(size, size, 1)
    skew = upper.new_zeros(len(upper), size, size)
    skew[:, row, column] = upper
    skew = skew - skew.transpose(-2, -1)
    identity = torch.eye(size, dtype=upper.dtype, device=upper.device).expand_as(skew)
    if not terms:
        exact: torch.Tensor = torch.linalg.solve(identity + skew, identity - skew, left=False)
        return exact
    last = terms - 1 if terms < 3 else max(terms - 1, 3)
    rotation, power = identity.clone(), skew
    for term in range(1, last + 1):  # of three terms and more the last one counts once, the others twice
        rotation = rotation + power * (1.0 if term == last and terms > 2 else 2.0)
        power = power @ skew
    return rotation


def norm_dims(shape: torch.Size, magnitude: torch.Tensor) -> tuple[int, ...]:
    """The dimensions that DoRA's norm of a weight is taken over: all but that of the outputs, or of the inputs.

    A magnitude of rows is (outputs, 1, …), of peft's linear layers (outputs,), and of its convolutions (1, outputs, …).
    """
    outputs, is_convolution = shape[0], len(shape) > 2
    of_rows = outputs == magnitude.shape[0] or (is_convolution and outputs == magnitude.shape[1])
    return tuple(dim for dim in range(len(shape)) if dim != (0 if of_rows else 1))


def _pair(tensors: Tensors, rows: slice) -> torch.Tensor:
    up, down = tensors[Role.UP].flatten(1), tensors[Role.DOWN].flatten(1)
    if Role.MID in tensors:
        return torch.einsum("ij...,pi,jr->pr...", tensors[Role.MID], up, down)
    return up[rows] @ down


def _second(tensors: Tensors) -> torch.Tensor:
    """The second matrix of a Kronecker product."""
    if Role.LOKR_W2 in tensors:
        return tensors[Role.LOKR_W2]
    if Role.LOKR_T2 in tensors:
        factors = tensors[Role.LOKR_T2], tensors[Role.LOKR_W2_A], tensors[Role.LOKR_W2_B]
        return torch.einsum("ij...,ip,jr->pr...", *factors)
    return tensors[Role.LOKR_W2_A] @ tensors[Role.LOKR_W2_B]


def _lokr(tensors: Tensors, rows: slice) -> torch.Tensor:
    first = tensors[Role.LOKR_W1] if Role.LOKR_W1 in tensors else tensors[Role.LOKR_W1_A] @ tensors[Role.LOKR_W1_B]
    second = _second(tensors)
    first = first[rows.start // second.shape[0] : rows.stop // second.shape[0]]
    return torch.kron(first.reshape(*first.shape, *[1] * (second.ndim - 2)), second.contiguous())


def _loha(tensors: Tensors, rows: slice) -> torch.Tensor:
    sides = []
    for a, b, t in (
        (Role.HADA_W1_A, Role.HADA_W1_B, Role.HADA_T1),
        (Role.HADA_W2_A, Role.HADA_W2_B, Role.HADA_T2),
    ):
        left, right = tensors[a], tensors[b]
        is_core = t in tensors
        sides.append(torch.einsum("ij...,jr,ip->pr...", tensors[t], right, left) if is_core else left[rows] @ right)
    return sides[0] * sides[1]
