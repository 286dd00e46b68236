"""Attention within windows, of a video's tokens and the text's together."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Generic, TypeVar

import torch
from torch.nn.functional import scaled_dot_product_attention

from wan_pipeline.engine.upscaler.seedvr.rope import Positions, Turn, rotate
from wan_pipeline.engine.upscaler.seedvr.windows import by_shape, windows_of

EPSILON = 1e-5
CHUNK = 8192
"""Tokens that are computed at a time where they do not meet, for the memory of what lies between."""

Layer = TypeVar("Layer", bound=torch.nn.Module)


class Pair(torch.nn.Module, Generic[Layer]):
    """A layer for the video and one for the text; or one for both; or none for the text."""

    def __init__(self, make: Callable[[], Layer], shared: bool, video_only: bool = False) -> None:
        super().__init__()
        if shared:
            self.all = make()
        else:
            self.vid = make()
            if not video_only:
                self.txt = make()

    @property
    def video(self) -> Layer:
        return self.all if hasattr(self, "all") else self.vid

    @property
    def text(self) -> Layer:
        return self.all if hasattr(self, "all") else self.txt


class WindowAttention(torch.nn.Module):
    """Every window sees its own tokens and the whole text; the text takes the mean of what it saw in all windows."""

    def __init__(self, width: int, heads: int, head: int, positions: Positions, *, shared: bool, shifted: bool) -> None:
        super().__init__()
        self.heads, self.head, self.positions, self.shifted = heads, head, positions, shifted
        self.proj_qkv = Pair(lambda: torch.nn.Linear(width, 3 * heads * head, bias=False), shared)
        self.proj_out = Pair(lambda: torch.nn.Linear(heads * head, width), shared)
        self.norm_q, self.norm_k = (Pair(lambda: torch.nn.RMSNorm(head, EPSILON), shared) for _ in range(2))

    def forward(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Replace the tokens of `video`, (time, height, width, channels), by what they attend to; return the text's."""
        place = self.positions.text(len(text), text.device)
        text_qkv = self._queries_keys_values(self.proj_qkv.text(text)[None], self.norm_q.text, self.norm_k.text, place)
        seen = torch.zeros(len(text), self.heads * self.head, device=text.device)
        windows = windows_of((video.shape[0], video.shape[1], video.shape[2]), shifted=self.shifted)
        for shape, group in by_shape(windows).items():
            turn = self.positions.video(shape, len(text), video.device)
            count = max(1, CHUNK // prod(shape))
            for some in (group[first : first + count] for first in range(0, len(group), count)):
                tokens = torch.stack([video[window].flatten(0, 2) for window in some])
                made, told = torch.split(self._attend(tokens, turn, text_qkv), [prod(shape), len(text)], 1)
                seen += told.sum(0, dtype=seen.dtype)
                for window, rows in zip(some, self.proj_out.video(made), strict=True):
                    video[window] = rows.view(*shape, -1)
        mean: torch.Tensor = self.proj_out.text((seen / len(windows)).to(text.dtype))
        return mean

    def _attend(self, tokens: torch.Tensor, turn: Turn, text: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """(windows, tokens, channels) -> (windows, tokens and then the text's, channels)."""
        own = self._queries_keys_values(self.proj_qkv.video(tokens), self.norm_q.video, self.norm_k.video, turn)
        query, key, value = (
            torch.cat((one, other.expand(len(one), -1, -1, -1)), 2) for one, other in zip(own, text, strict=True)
        )
        return scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)

    def _queries_keys_values(
        self, values: torch.Tensor, norm_q: torch.nn.Module, norm_k: torch.nn.Module, turn: Turn | None
    ) -> tuple[torch.Tensor, ...]:
        """(n, tokens, 3 x channels) -> each (n, heads, tokens, head)."""
        query, key, value = torch.unflatten(values, -1, (3, self.heads, self.head)).permute(2, 0, 3, 1, 4)
        return rotate(norm_q(query), turn), rotate(norm_k(key), turn), value
