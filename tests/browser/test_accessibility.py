"""Axe-core finds nothing on the page in any look, and dialogs are used by keyboard."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.support.axe import Auditor, Look
from tests.browser.support.filled import Filled, empty, fill
from tests.browser.support.form import panel
from tests.browser.support.keyboard import is_one_tab_stop, opened_by_keyboard
from tests.browser.support.visitor import TEST_SECONDS, Visitor, new_profile
from tests.browser.test_projects_page import open_project
from tests.projects.test_checkpoint_grids import write_lora
from tests.support import adapters
from tests.support.files.pictures import write_pictures
from wan_pipeline.access.http import COOKIE
from wan_pipeline.clips.gallery import Gallery
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.training.job import Point
from wan_pipeline.jobs.training.trainer_queue import TrainerQueue
from wan_pipeline.jobs.training.trainings import Trainings
from wan_pipeline.jobs.worker.heartbeat import Heartbeat
from wan_pipeline.models.library import ModelLibrary
from wan_pipeline.projects.checkpoint_grids import FILE, Cell, CheckpointGrid
from wan_pipeline.settings import Settings
from wan_pipeline.storage.database import Database
from wan_pipeline.trainer.request import TrainingRequest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

DIALOG = "[role=dialog], dialog[open]"
TUNNEL = "someone.gradio.live"
ROOMS = {
    "Create": "#view",
    "Queue": ".now",
    "Shots": "#shots-board .nothing",
    "Cut": ".cut-nothing",
    "Gallery": ".clip",
    "LoRAs": ".lora-card",
    "Train": "#dataset-report",
    "Models": "#model-grid .model",
}
"""What each shows once it is open."""


@pytest.fixture(scope="module")
def filled(workspace: Path, address: str) -> Iterator[Filled]:
    filled = fill(workspace)
    words = {"modelspec.trigger_phrase": "ohwx ink, brush"}
    adapters.write(workspace.parent / "loras" / "ink.safetensors", metadata=words)
    with Heartbeat(filled.queue.worker) as heart:  # else the app ends the worker, which seems to hang
        heart.set_job(filled.jobs[JobState.RUNNING])
        yield filled
    empty(filled)


@pytest.fixture(params=[list(Look)], ids=["every look"])
def auditor(request: pytest.FixtureRequest) -> Iterator[Auditor]:
    auditor = Auditor(request.param)
    yield auditor
    assert not auditor.found, "\n".join(["", *auditor.found])


@pytest.mark.parametrize("auditor", [[Look.LIGHT]], indirect=True, ids=["light"])
def test_every_room_by_day(visitor: Visitor, filled: Filled, auditor: Auditor) -> None:
    """What each room shows first. All that opens in it, and the other looks, are in the long test below."""
    page = visitor.open()
    for room, first in ROOMS.items():
        page.get_by_role("tab", name=room, exact=room == "Cut").click()
        expect(page.locator(first).first).to_be_visible()
        auditor.look(page, room)


@pytest.mark.soak
def test_03_every_room_dialog_and_group_of_radio_buttons(
    visitor: Visitor, filled: Filled, workspace: Path, auditor: Auditor
) -> None:
    page = visitor.open(f"?job={filled.jobs[JobState.CANCELLED]}")
    create(page, filled, auditor)
    queue(page, filled, auditor)
    shots(page, auditor)
    gallery(page, workspace, filled, auditor)
    loras(page, auditor)
    train(page, workspace, filled, auditor)
    models(page, auditor)
    share(page, auditor)
    project(page, workspace, auditor)


def test_the_guests_page(browser: Browser, address: str, filled: Filled, auditor: Auditor) -> None:
    guest(browser, address, filled, auditor)


def share(page: Page, auditor: Auditor) -> None:
    with opened_by_keyboard(page, page.get_by_role("button", name="Share", exact=True)):
        page.get_by_role("button", name="Make a link").click()
        expect(page.get_by_label("The link")).to_be_visible()
        auditor.look(page, "share", DIALOG)


def create(page: Page, filled: Filled, auditor: Auditor) -> None:
    for name in ("Text to video", "Image to video"):
        page.get_by_role("tab", name=name).click()
        form = panel(page)
        for accordion in ("LoRAs", "Advanced", "Project"):
            form.get_by_role("button", name=re.compile(f"^{accordion}")).click()
        for group in (".style-cards", ".size-cards"):
            is_one_tab_stop(page, form.locator(f"{group} input:checked"))
        form.get_by_role("button", name="Add ink").click()
        form.get_by_label("Over the steps, ink").fill("0:0, 0.3:1")
        form.get_by_label("Custom").check()
        form.get_by_label("Seed", exact=True).fill("none")
        form.get_by_role("button", name="Generate").click()
        expect(form.locator(".notice:visible")).to_be_visible()
        auditor.look(page, name)
    for state in JobState:
        recent = page.locator(f".strip [data-job='{filled.jobs[state]}']")
        if recent.count():
            recent.click()
        else:
            page.goto(f"{page.url.partition('?')[0]}?job={filled.jobs[state]}")
        expect(page.locator("#view .words")).to_have_text(filled.queue.jobs.job(filled.jobs[state]).request.prompt)
        auditor.look(page, f"the stage of a job that is {state}", "#stage")


def queue(page: Page, filled: Filled, auditor: Auditor) -> None:
    page.get_by_role("tab", name="Queue").click()
    expect(page.locator(".now")).to_be_visible()
    page.get_by_role("button", name="Add many clips").click()
    page.locator("#add-many input[type=file]").first.set_input_files(
        {"name": "list.csv", "mimeType": "text/csv", "buffer": b"prompt,steps\na ball,4\na box,many\n"}
    )
    expect(page.locator(".problems")).to_be_visible()
    auditor.look(page, "queue")
    for shelf in ("Done", "Problems", "Cancelled"):
        page.get_by_role("radio", name=shelf).click()
        expect(page.get_by_role("radio", name=shelf)).to_be_checked()
        auditor.look(page, f"queue, {shelf}", "#queue-rows")
    row = page.locator(f".job-row[data-clip='{filled.jobs[JobState.CANCELLED]}']")
    more = row.get_by_role("button", name="More for this clip")
    more.press("Enter")
    auditor.look(page, "the menu of a clip", "[role=menu]", narrows=False)  # a new width closes it
    history = row.get_by_role("menuitem", name="History and log")
    if not history.is_visible():  # a list that changed meanwhile, or a look that scrolled, has closed it
        more.press("Enter")
    with opened_by_keyboard(page, history, more):
        auditor.look(page, "history", DIALOG)


def shots(page: Page, auditor: Auditor) -> None:
    page.get_by_role("tab", name="Shots").click()
    expect(page.locator("#shots-board .nothing")).to_be_visible()
    page.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(
        {"name": "list.csv", "mimeType": "text/csv", "buffer": b"scene,shot,description\n1,010,a ball\n1,020,a box\n"}
    )
    expect(page.locator(".shot")).to_have_count(2)
    auditor.look(page, "shots")
    page.get_by_role("button", name="Table").click()
    expect(page.locator(".shots-table .shot")).to_have_count(2)
    auditor.look(page, "table of shots")
    page.get_by_role("button", name="Board").click()
    expect(page.locator(".shots .shot")).to_have_count(2)
    with opened_by_keyboard(page, page.get_by_role("button", name="Edit the shot (C)").first):
        auditor.look(page, "editing a shot", DIALOG)
    with opened_by_keyboard(page, page.get_by_role("button", name="Again with…").first):
        auditor.look(page, "again with", DIALOG)
    with opened_by_keyboard(page, page.get_by_role("button", name="Draft the open shots")):
        auditor.look(page, "asked before many takes", DIALOG)


def gallery(page: Page, workspace: Path, filled: Filled, auditor: Auditor) -> None:
    page.get_by_role("tab", name="Gallery").click()
    posters = page.locator(".clip .poster")
    for number in range(2):
        posters.nth(number).hover()
        page.locator(".clip .pick").nth(number).click()
    expect(page.get_by_role("button", name="Compare", exact=True)).to_be_visible()
    auditor.look(page, "gallery")
    with opened_by_keyboard(page, page.get_by_role("button", name="Compare", exact=True)):
        auditor.look(page, "compare", DIALOG)
    with opened_by_keyboard(page, posters.first) as sheet:
        sheet.get_by_role("button", name="Share copy").click()
        expect(page.locator("#report .notice")).to_be_visible()
        for part in ("Export", "Sound", "Upscale and smooth"):
            sheet.locator("summary", has_text=part).click()
        auditor.look(page, "clip", DIALOG)
    page.get_by_placeholder("Search prompts and notes").fill("nowhere")
    expect(page.locator(".nothing:visible")).to_be_visible()
    auditor.look(page, "gallery without a clip")
    page.get_by_placeholder("Search prompts and notes").fill("")
    clips = Gallery(Database(workspace / "studio.sqlite3"), workspace / "clips")
    oldest = filled.queue.jobs.jobs((JobState.DONE,), limit=3)[-1].id
    clips.bin([oldest])
    page.get_by_label("Bin", exact=True).check()
    expect(page.get_by_role("button", name="Empty the bin")).to_be_visible()
    auditor.look(page, "bin")
    with opened_by_keyboard(page, page.locator(f".clip[data-clip='{oldest}'] .poster")):
        auditor.look(page, "a clip in the bin", DIALOG)
    clips.unbin([oldest])


def loras(page: Page, auditor: Auditor) -> None:
    page.get_by_role("tab", name="LoRAs").click()
    expect(page.locator(".lora-card").first).to_be_visible()
    auditor.look(page, "LoRAs")


def train(page: Page, workspace: Path, filled: Filled, auditor: Auditor) -> None:
    page.get_by_role("tab", name="Train").click()
    expect(page.locator("#dataset-report")).to_contain_text("No images yet")
    auditor.look(page, "train, empty")
    with trainings(workspace, filled.jobs[JobState.DONE]):
        expect(page.locator(".training-card")).to_have_count(2)
        expect(page.locator(".live svg")).to_be_visible()
        expect(page.locator(".caption-card")).to_have_count(2)
        expect(page.locator(".checkpoint-grid video")).to_be_visible()
        auditor.look(page, "train")
        with opened_by_keyboard(page, page.get_by_role("button", name="Compare checkpoints")):
            auditor.look(page, "comparing checkpoints", DIALOG)


@contextmanager
def trainings(workspace: Path, clip: str) -> Iterator[None]:
    """A dataset, a training in the middle of it, and one that has failed after a checkpoint, whose grid has `clip`."""
    settings = Settings(workspace=workspace)
    database, folder = Database.create(settings.database), write_pictures(settings.datasets / "pictures", 2)
    made, queue = Trainings(database, settings, ModelLibrary(settings)), TrainerQueue(database)
    ids = [made.submit(TrainingRequest(folder, name)) for name in ("wrong", "right")]
    for training_id in ids:
        queue.claim()
        points = [Point(step, 1 / step, 1e-3, 0.5) for step in (1, 2, 3)]
        queue.progress(training_id, points, stage="training", step=3, total=80, eta_seconds=60.0)
        if training_id == ids[0]:
            queue.fail(training_id, "The loss is not a number.")
            write_lora(settings.trainings / "wrong" / "wrong-2.safetensors", 2)
            grid = CheckpointGrid("wrong", ("a red ball",), 1, (Cell(0, 2, 0.5, clip), Cell(0, 2, 1.0, "")))
            (settings.trainings / "wrong" / FILE).write_text(json.dumps(asdict(grid)))
    try:
        yield
    finally:
        queue.mark_cancelled(ids[1])
        for training_id in ids:
            made.remove(training_id)
        shutil.rmtree(folder)


def models(page: Page, auditor: Auditor) -> None:
    page.get_by_role("tab", name="Models").click()
    expect(page.locator("#model-grid .model").first).to_be_visible()
    auditor.look(page, "models")
    with opened_by_keyboard(page, page.get_by_role("button", name="Remove", exact=True).first):
        auditor.look(page, "removing a model", DIALOG)
    with opened_by_keyboard(page, page.get_by_role("button", name="Download", exact=True).first) as dialog:
        expect(dialog.locator(".notice")).to_be_visible()
        auditor.look(page, "downloading a model", DIALOG)


def project(page: Page, workspace: Path, auditor: Auditor) -> None:
    """What only an open project has."""
    open_project(page, "Walk")
    page.get_by_role("tab", name="Cut", exact=True).click()
    expect(page.locator(".cut-nothing")).to_be_visible()
    auditor.look(page, "cut, empty")
    for button in ("Another cut", "Versions"):
        with opened_by_keyboard(page, page.get_by_role("button", name=button)):
            auditor.look(page, button, DIALOG)
    page.get_by_role("tab", name="Shots").click()
    (picture,) = write_pictures(workspace.parent / "faces", 1).glob("*.png")
    with opened_by_keyboard(page, page.get_by_role("button", name="Characters and places")) as dialog:
        dialog.get_by_label("Add one: its name").fill("anna")
        page.keyboard.press("Enter")
        with page.expect_file_chooser() as chooser:
            dialog.get_by_role("button", name="Add pictures").click()
        chooser.value.set_files(picture)
        expect(dialog.get_by_role("img", name="Picture 1 of anna")).to_be_visible()
        auditor.look(page, "a character", DIALOG)
        dialog.get_by_role("button", name="All", exact=True).click()
        expect(dialog.locator(".cast-card img")).to_be_visible()
        auditor.look(page, "characters", DIALOG)


def guest(browser: Browser, address: str, filled: Filled, auditor: Auditor) -> None:
    profile = new_profile(browser)
    page = profile.new_page()
    page.goto(address.replace("127.0.0.1", TUNNEL))
    auditor.look(page, "refused")
    profile.add_cookies([{"name": COOKIE, "value": filled.secret, "domain": TUNNEL, "path": "/"}])
    page.reload()
    expect(page.locator(".clip.completed").first).to_be_visible()
    expect(page.locator("#estimate")).not_to_be_empty()
    page.get_by_text("More settings").click()
    for box in page.get_by_label("Compare").all()[:2]:
        box.check()
    auditor.look(page, "guests' page")
    with opened_by_keyboard(page, page.get_by_role("button", name="Compare the two")):
        auditor.look(page, "guests' comparison", DIALOG)
    with opened_by_keyboard(page, page.locator(".clip button.picture").first):
        auditor.look(page, "guests' clip", DIALOG)
    profile.close()
