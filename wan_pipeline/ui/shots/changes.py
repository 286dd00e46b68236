"""What buttons of the Shots room do to takes and shots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from wan_pipeline.clips.gallery import Clip
from wan_pipeline.errors import UserError
from wan_pipeline.projects.shots.shot import NewShot, Shot
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Click
from wan_pipeline.ui.common.parts.undo import undo
from wan_pipeline.wording import plural


class ShotChanges:
    """Each takes a click and the open project, and gives what is told of it."""

    def __init__(self, studio: Studio) -> None:
        self._studio, self._shots, self._clips = studio, studio.shots, studio.gallery.existing
        self.by_act: Mapping[str, Callable[[Click, str], str]] = {
            "new-take": self._new_take,
            "pick-take": self._pick,
            "reject-take": self._reject,
            **{f"rate-{rating}": self._rate for rating in range(6)},
            **dict.fromkeys(("finish-one", "finish-one-kept"), self._finish_one),
            **dict.fromkeys(("finish-all", "finish-all-kept"), self._finish_all),
            "draft-open": self._draft_open,
            "move-before": self._move_before,
            **dict.fromkeys(("move-up", "move-down"), self._move_by_one),
            **dict.fromkeys(("scene", "shot", "description", "notes"), self._edit),
            "remove-shot": self._remove,
            "undo": self._undo,
        }

    # What is done to takes

    def _new_take(self, click: Click, _: str) -> str:
        shot = self._shots.of_number(self._number(click))
        self._studio.takes.queue(self._studio.takes.of_shots([shot]))
        return f"A take of shot {shot.address} waits in the queue"

    def _draft_open(self, _: Click, project: str) -> str:
        shots = [shot for shot in self._shots.all(project) if not shot.takes]
        ids = self._studio.takes.queue(self._studio.takes.of_shots(shots))
        return f"{plural(len(ids), 'take')} added to the queue"

    def _pick(self, click: Click, _: str) -> str:
        shot, take = self._take(click)
        if shot.picked == take:
            self._shots.unpick([shot.number])
        else:
            self._shots.pick([each for each in shot.done if each.id == take])
        return ""

    def _reject(self, click: Click, _: str) -> str:
        shot, take = self._take(click)
        takes = [each for each in shot.done if each.id == take]
        self._shots.reject(takes, not all(each.is_rejected for each in takes))
        return ""

    def _rate(self, click: Click, _: str) -> str:
        self._studio.gallery.rate(click.subject, int(click.act[-1]))
        return ""

    def _finish_one(self, click: Click, _: str) -> str:
        return self._finish(self._clips([click.subject]), click)

    def _finish_all(self, click: Click, project: str) -> str:
        return self._finish(self._studio.finals.picked(project), click)

    def _finish(self, clips: list[Clip], click: Click) -> str:
        prepared = self._studio.finals.of(clips, keep_layout=click.act.endswith("kept"))
        count = len(self._studio.takes.queue(prepared))
        return ". ".join([f"{plural(count, 'final')} added to the queue", *prepared.notes])

    # What is done to shots

    def _move_before(self, click: Click, _: str) -> str:
        self._shots.move(int(click.subject), int(click.text))
        return ""

    def _move_by_one(self, click: Click, project: str) -> str:
        number = self._shots.of_number(int(click.subject)).number
        numbers = [shot.number for shot in self._shots.all(project)]
        if number not in numbers:
            raise UserError("That shot is of another project; look at the list again.")
        place = numbers.index(number)
        if click.act == "move-up" and place:
            self._shots.move(number, numbers[place - 1])
        if click.act == "move-down" and place + 1 < len(numbers):
            self._shots.move(numbers[place + 1], number)
        return ""

    def _edit(self, click: Click, _: str) -> str:
        shot = self._shots.of_number(int(click.subject))
        texts = {name: getattr(shot, name) for name in ("shot", "scene", "description", "notes")}
        done = self._studio.renumbering.edit(shot.number, NewShot(**(texts | {click.act: click.text.strip()})))
        told = [f"{plural(done.renamed, 'clip')} renamed."] if done.renamed else []
        return " ".join([*told, *done.notes[:2]])

    def _remove(self, click: Click, _: str) -> str:
        shot = self._shots.of_number(int(click.subject))
        self._shots.remove([shot.number])
        return f"Shot {shot.address} is off the list; its clips are in the gallery"

    def _undo(self, click: Click, _: str) -> str:
        return undo(self._studio, click.text)

    def picked(self, click: Click) -> str:
        """The picked take of the shot that was clicked, or of the shot of the take that was; empty if there is none."""
        return self._shots.of_number(self._number(click)).picked

    def _number(self, click: Click) -> int:
        """The row number of the shot that was clicked, or of the shot of the take that was."""
        with suppress(ValueError):
            return int(click.subject)
        return self._take(click)[0].number

    def _take(self, click: Click) -> tuple[Shot, str]:
        shot = self._shots.of_take(click.subject)
        if shot is None:
            raise UserError("That take no longer belongs to a shot; look at the list again.")
        return shot, click.subject
