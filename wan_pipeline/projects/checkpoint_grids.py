"""A training's checkpoints at several weights: a batch of clips with the same prompts and seed, and their sheet."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path

from wan_pipeline.clips.gallery import Clip, Gallery
from wan_pipeline.clips.sheets.differing import MAX_COLUMNS, Grid
from wan_pipeline.clips.sheets.page import Tile
from wan_pipeline.clips.sheets.sheet import check_ending, write_sheet
from wan_pipeline.clips.sheets.wall import write_wall
from wan_pipeline.errors import UserError
from wan_pipeline.jobs.same import same_requests
from wan_pipeline.projects.clips import JobOptions, ProjectClips
from wan_pipeline.projects.shots.takes import Prepared, Takes
from wan_pipeline.projects.store import Projects
from wan_pipeline.requests.layers import with_none_read
from wan_pipeline.requests.options import number, whole
from wan_pipeline.requests.request import Draft, GenerationRequest, LoraChoice
from wan_pipeline.requests.resolver import RequestResolver
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.storage.files import whole_file
from wan_pipeline.storage.main_app import CheckMainApp, main_app_only, unchecked
from wan_pipeline.storage.outside import OutsideDataError, parse, read_json_file
from wan_pipeline.trainer.files.checkpoints import Checkpoint, checkpoints, in_library
from wan_pipeline.wording import plural

FILE = "grid.json"
"""In the training's folder: its newest grid."""
MAX_CELLS = 200
MAX_READ = 64
"""Grids that are kept in memory until their files change: the page asks for those of its trainings every second."""


@dataclass(frozen=True)
class Cell:
    """A place of the grid."""

    prompt: int
    """Its number, from 0."""
    step: int
    weight: float
    job: str
    """Id of the job of its clip. At weight 0 all checkpoints share one."""


@dataclass(frozen=True)
class CheckpointGrid:
    """A grid that was queued. Stored as JSON."""

    name: str
    """Of the training."""
    prompts: tuple[str, ...]
    seed: int
    cells: tuple[Cell, ...]

    @cached_property
    def steps(self) -> list[int]:
        return sorted({cell.step for cell in self.cells})

    @cached_property
    def weights(self) -> list[float]:
        return sorted({cell.weight for cell in self.cells})

    @cached_property
    def jobs(self) -> list[str]:
        """Each once."""
        return list(dict.fromkeys(cell.job for cell in self.cells))

    def job_of(self, prompt: int, step: int, weight: float) -> str:
        """Empty where the grid has no such cell."""
        return self._jobs_by_place.get((prompt, step, weight), "")

    @cached_property
    def _jobs_by_place(self) -> dict[tuple[int, int, float], str]:
        return {(cell.prompt, cell.step, cell.weight): cell.job for cell in self.cells}


@dataclass(frozen=True)
class GridOrder:
    """What a grid is asked to hold."""

    name: str
    """Of the training."""
    prompts: tuple[str, ...]
    weights: tuple[float, ...]
    steps: tuple[int, ...] = ()
    """Of the checkpoints; empty for all of them."""
    seed: int | None = None
    """None for that of the training."""


@dataclass(frozen=True)
class PreparedCheckpoints:
    """A grid that has been checked, before any of it is queued."""

    order: GridOrder
    places: tuple[tuple[int, int, float], ...]
    """Prompt, step and weight of each cell."""
    requests: tuple[GenerationRequest, ...]
    """Of each cell; some are equal."""
    prepared: Prepared
    known: Mapping[str, str]
    """Jobs that have, or will have, clips of some cells already, by the request's JSON."""


class CheckpointGrids:
    """Every method raises UserError for what cannot be, StorageError."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        projects: Projects,
        clips: ProjectClips,
        requests: RequestResolver,
        takes: Takes,
        gallery: Gallery,
        check_main_app: CheckMainApp = unchecked,
    ) -> None:
        self._check_main_app = check_main_app
        self._settings, self._database, self._projects, self._clips = settings, database, projects, clips
        self._requests, self._takes, self._gallery = requests, takes, gallery
        self._read = lru_cache(maxsize=MAX_READ)(_read)

    @main_app_only
    def prepare(self, order: GridOrder, project: str = "", profile: str = "") -> PreparedCheckpoints:
        """Check a grid for the project with this label. Its checkpoints are copied into the LoRA folder, where clips
        find them, unless something is wrong with it.
        """
        chosen = _chosen(checkpoints(self._settings, order.name), order)
        _check_order(order, len(chosen))
        with in_library(self._settings, chosen) as names:
            batch = self._requests.batch().within(self._projects.layers(project, profile))
            check = batch.checker()
            places = tuple(product(range(len(order.prompts)), sorted(names), sorted(set(order.weights))))
            seed = chosen[-1].seed if order.seed is None else order.seed
            drafts = [
                _draft(order.prompts[prompt], chosen[-1].base_model, seed, names[step], weight)
                for prompt, step, weight in places
            ]
            requests = tuple(check(with_none_read(draft) if project else draft) for draft in drafts)
            distinct = {request.to_json(): (draft, request) for draft, request in zip(drafts, requests, strict=True)}
            same = same_requests(self._database, [request for _, request in distinct.values()], project)
            known = {text: job for text, job in zip(distinct, same, strict=True) if job}
            missing = tuple(
                (draft, self._clips.job(request, project, JobOptions()))
                for text, (draft, request) in distinct.items()
                if text not in known
            )
            return PreparedCheckpoints(order, places, requests, Prepared(missing, batch), known)

    def queue(self, grid: PreparedCheckpoints) -> CheckpointGrid:
        """Queue the clips that are not there yet as one batch, and keep where each stands."""
        ids = self._takes.queue(grid.prepared)
        made = {request.to_json(): job for request, job in zip(grid.prepared.requests, ids, strict=True)}
        jobs = {**grid.known, **made}
        cells = tuple(
            Cell(*place, jobs[request.to_json()]) for place, request in zip(grid.places, grid.requests, strict=True)
        )
        queued = CheckpointGrid(grid.order.name, grid.order.prompts, grid.requests[0].seed, cells)
        with whole_file(self._path(grid.order.name)) as part:
            part.write_text(json.dumps(asdict(queued)), encoding="utf-8")
        return queued

    def find(self, name: str) -> CheckpointGrid | None:
        """The newest grid of a training; None if there is none that can be read."""
        path = self._path(name)
        try:
            return self._read(path, path.stat().st_mtime_ns)
        except (OSError, OutsideDataError):
            return None

    def clips(self, grid: CheckpointGrid) -> dict[str, Clip]:
        """The clips that are done, by job."""
        return {clip.id: clip for clip in self._gallery.existing(grid.jobs)}

    def write_sheet(self, name: str, target: Path) -> None:
        """Write the contact sheet, PNG, PDF or MP4: checkpoints downwards, weights across.

        A clip that is not done yet leaves its tile empty; an MP4 needs them all.
        """
        check_ending(target)
        grid = self.find(name)
        if grid is None:
            raise UserError(f"There is no grid of checkpoints of '{name[:80]}' yet; make one by trainings grid.")
        clips = self.clips(grid)
        if not clips:
            raise UserError(f"No clip of the grid of '{name[:80]}' is done yet; wait for the queue.")
        if target.suffix.lower() == ".mp4":
            _write_wall(grid, clips, target)
            return
        axes = Grid("weight", tuple(f"{each:g}" for each in grid.weights), "checkpoint", tuple(_rows(grid)))
        tiles, keys = [], []
        for cell in grid.cells:
            clip = clips.get(cell.job)
            tiles.append(Tile(clip.poster if clip else None))
            keys.append((_row(grid, cell.prompt, cell.step), f"{cell.weight:g}"))
        write_sheet(tiles, _title(grid), target, axes, keys)

    def _path(self, name: str) -> Path:
        return self._settings.trainings / name / FILE


def _read(path: Path, _: int) -> CheckpointGrid:
    """The grid of a file, which is read once for each time that it changes. Raises OSError, OutsideDataError."""
    return parse(CheckpointGrid, read_json_file(path))


def _write_wall(grid: CheckpointGrid, clips: Mapping[str, Clip], target: Path) -> None:
    if missing := len(set(grid.jobs) - clips.keys()):
        raise UserError(f"{plural(missing, 'clip')} of the grid of '{grid.name}' are not there; wait, or write a .png.")
    shown = [clips[cell.job] for cell in grid.cells]
    captions = [f"{_row(grid, cell.prompt, cell.step)}  weight {cell.weight:g}" for cell in grid.cells]
    fps = max(clip.request.fps for clip in shown)
    write_wall([clip.path for clip in shown], captions, fps, target, len(grid.weights))


def read_weights(text: str) -> tuple[float, ...]:
    """The weights of a text such as "0, 0.5, 1". Raises UserError."""
    read = number("weight")
    return tuple(read(part.strip()) for part in text.split(",") if part.strip())


def read_steps(text: str) -> tuple[int, ...]:
    """The steps of a text such as "40, 80". Raises UserError."""
    read = whole("step")
    return tuple(read(part.strip()) for part in text.split(",") if part.strip())


def _chosen(found: Sequence[Checkpoint], order: GridOrder) -> list[Checkpoint]:
    """The checkpoints that are asked for, by steps; of a step the finished LoRA, if it is one."""
    by_step = {one.step: one for one in found}
    missing = [step for step in order.steps if step not in by_step]
    if missing:
        known = ", ".join(map(str, by_step))
        raise UserError(f"No checkpoint of '{order.name}' is kept after step {missing[0]}; choose of: {known}.")
    chosen = [one for step, one in sorted(by_step.items()) if not order.steps or step in order.steps]
    if any(not one.base_model for one in chosen):
        raise UserError(f"The files of '{order.name}' do not say which model they are for; train it again.")
    return chosen


def _check_order(order: GridOrder, checkpoints: int) -> None:
    if not order.prompts:
        raise UserError("There is no prompt for the clips of the grid; write one.")
    weights = len(set(order.weights))
    if not 1 <= weights <= MAX_COLUMNS:
        raise UserError(f"A grid has 1 to {MAX_COLUMNS} weights, and {weights} were given; write them as 0.5, 1.")
    count = len(order.prompts) * checkpoints * weights
    if count > MAX_CELLS:
        raise UserError(f"That makes {plural(count, 'clip')}; at most {MAX_CELLS} in a grid: take fewer checkpoints.")


def _draft(prompt: str, model: str, seed: int, lora: str, weight: float) -> Draft:
    return Draft(prompt, model=model, seed=seed, loras=(LoraChoice(lora, weight),) if weight else ())


def _rows(grid: CheckpointGrid) -> Iterator[str]:
    for prompt in range(len(grid.prompts)):
        yield from (_row(grid, prompt, step) for step in grid.steps)


def _row(grid: CheckpointGrid, prompt: int, step: int) -> str:
    """A row's label; with several prompts it says which."""
    return f"step {step}" if len(grid.prompts) == 1 else f"step {step}: {prompt + 1}. {grid.prompts[prompt]}"


def _title(grid: CheckpointGrid) -> str:
    about = f"{grid.name}, seed {grid.seed}"
    return f"{about}: {grid.prompts[0]}" if len(grid.prompts) == 1 else about
