"""What a clip is divided into: windows of tokens, tiles of frames and pieces of frames."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch

from wan_pipeline.engine.network_files.levels import Levels
from wan_pipeline.engine.upscaler.seedvr.colors import with_colors_of
from wan_pipeline.engine.upscaler.seedvr.pieces import OVERLAP, Pieces
from wan_pipeline.engine.upscaler.seedvr.restore import piece_length
from wan_pipeline.engine.upscaler.seedvr.tiles import count_tiles, tiles_of
from wan_pipeline.engine.upscaler.seedvr.vae import TIME
from wan_pipeline.engine.upscaler.seedvr.windows import Size, by_shape, windows_of


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", [(1, 1, 1), (1, 45, 80), (2, 3, 5), (7, 31, 17), (30, 68, 120), (33, 9, 101)])
def test_windows_hold_each_token_once(size: Size, shifted: bool) -> None:
    seen = torch.zeros(size)
    for shape, group in by_shape(windows_of(size, shifted=shifted)).items():
        for window in group:
            assert seen[window].shape == shape and min(shape) > 0
            seen[window] += 1
    assert bool((seen == 1).all())


def test_shifted_windows_begin_half_a_window_earlier() -> None:
    starts = [sorted({window[2].start for window in windows_of((8, 45, 80), shifted=which)}) for which in (False, True)]
    assert starts == [[0, 27, 54], [0, 13, 40, 67]]


def test_a_clip_of_720p_has_the_windows_it_was_trained_with() -> None:
    assert by_shape(windows_of((28, 45, 80), shifted=False)).keys() == {(7, 15, 27), (7, 15, 26)}
    assert len(windows_of((28, 45, 80), shifted=False)) == 4 * 3 * 3
    assert len(windows_of((28, 45, 80), shifted=True)) == 5 * 4 * 4


@pytest.mark.parametrize("size", [(8, 8), (65, 64), (90, 160), (136, 240), (73, 129)])
def test_tiles_fade_into_each_other_without_a_trace(size: tuple[int, int]) -> None:
    frame = torch.rand(1, size[0] * 2, size[1] * 2)
    made, shapes = torch.zeros_like(frame), set()
    for tile in tiles_of(*size, 2):
        rows, columns = tile.scaled(2)
        part = frame[:, rows, columns] * tile.weights
        made[:, rows, columns] += part
        shapes.add(part.shape)
    assert torch.allclose(made, frame, atol=1e-6) and len(shapes) == 1
    assert len(list(tiles_of(*size))) == count_tiles(*size)


def test_neighbouring_tiles_share_enough_to_fade() -> None:
    spans = sorted({(tile.columns.start, tile.columns.stop) for tile in tiles_of(8, 1000, 8)})
    assert spans[0][0] == 0 and spans[-1][1] == 1000
    assert all(before[1] - after[0] >= 8 for before, after in pairwise(spans))


LENGTH = 13


@pytest.mark.parametrize("count", [1, 2, 4, 5, 12, 13, 14, 20, 21, 22, 29, 50, 61])
def test_pieces_of_any_clip_are_equal_and_give_all_its_frames(count: int) -> None:
    frames = [np.full((1, 2, 3), 100 + number, np.uint16) for number in range(count)]
    asked: list[tuple[int, int]] = []
    fresh: list[int] = []

    def make(piece: list[Levels], first: int, new: int) -> list[Levels]:
        asked.append((first, len(piece)))
        fresh.append(new)
        return [frame + 1000 for frame in piece]

    pieces = Pieces(make, LENGTH)
    made = [frame for given in frames for frame in pieces.add(given)]
    held = count - len(made)
    made += pieces.end()
    assert [int(frame[0, 0, 0]) for frame in made] == [1100 + number for number in range(count)]
    assert all(first % TIME == 0 and length % TIME == 1 for first, length in asked)
    assert {length for _, length in asked} == {LENGTH} if count >= LENGTH else len(asked) == 1
    assert held <= LENGTH + OVERLAP and sum(fresh) == count


def test_a_piece_fades_into_the_next() -> None:
    frames = [np.zeros((1, 1, 3), np.uint16)] * (2 * LENGTH - OVERLAP)
    levels = iter((0, 600))
    pieces = Pieces(lambda piece, *_: [frame + level for level in [next(levels)] for frame in piece], LENGTH)
    made = [int(frame[0, 0, 0]) for given in frames for frame in pieces.add(given)]
    made += [int(frame[0, 0, 0]) for frame in pieces.end()]
    assert made == [0] * 8 + [100, 200, 300, 400, 500] + [600] * 8


def test_pieces_are_of_a_size_that_8_gb_hold() -> None:
    sizes = {(720, 1280): 117, (1088, 1920): 117, (2160, 3840): 25, (8192, 8192): 9}
    assert {size: piece_length(*size) for size in sizes} == sizes


def test_colours_are_those_of_the_clip() -> None:
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(-1, 0, 96), indexing="ij")
    before = torch.stack((rows, columns, rows * columns))[None]
    checks = torch.tensor([[1.0, -1.0] * 48, [-1.0, 1.0] * 48] * 48) * 0.1
    kept = with_colors_of(before * 0.7 + 0.3 + checks, before)
    inner = slice(32, 64)
    assert torch.allclose(kept[..., inner, inner], (before + checks)[..., inner, inner], atol=0.02)
    flat = with_colors_of(torch.full((1, 3, 16, 16), 0.9), before[..., :16, :16])
    assert torch.allclose(flat.mean((2, 3)), before[..., :16, :16].mean((2, 3)), atol=0.02)


def test_tiles_cover_sizes_around_their_own() -> None:
    for height, width in product((1, 63, 64, 65, 120, 121), repeat=2):
        total = torch.zeros(height, width)
        for tile in tiles_of(height, width):
            total[tile.rows, tile.columns] += tile.weights
        assert torch.allclose(total, torch.ones(height, width))
