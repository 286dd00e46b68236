"""Three projects are set up, used and switched, in a real browser, on the real app with the tiny model."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.support.form import fill, generate, make_short, panel
from tests.browser.support.visitor import TEST_SECONDS, Visitor
from tests.support import adapters
from tests.support.queues import OpenQueue
from wan_pipeline.projects.store import Projects

pytestmark = [pytest.mark.browser, pytest.mark.timeout(TEST_SECONDS)]

PROJECTS = {"Client A": "a red ball bounces", "Client B": "a blue fish swims left", "Nacht": "the moon grows"}
LORAS = {"Client A": "earth", "Client B": "tech", "Nacht": ""}
STYLE = {"Client A": "Noir", "Client B": "Pastel", "Nacht": "Moonlit"}


def open_project(page: Page, name: str) -> None:
    box = page.get_by_role("combobox", name="Project", exact=True)
    box.fill(name)
    box.press("Enter")
    page.wait_for_function("name => localStorage.getItem('wan-studio-project') === name", arg=name)


def loras(page: Page) -> Locator:
    return panel(page).locator(".lora-row")


def choose_lora(page: Page, name: str) -> None:
    """This one alone, or none: a new project begins with the form as it is."""
    for remove in reversed(loras(page).get_by_role("button", name=re.compile("^Remove ")).all()):
        remove.click()
    expect(loras(page)).to_have_count(0)
    if name:
        panel(page).get_by_label("Add a LoRA").fill(name)
        panel(page).get_by_role("button", name=f"Add {name}").click()
        expect(loras(page)).to_contain_text([name])


def prompt(page: Page) -> object:
    return panel(page).get_by_label("Prompt", exact=True)


@pytest.mark.soak
def test_three_projects_are_set_up_used_and_switched(visitor: Visitor, workspace: Path) -> None:
    for seed, lora in enumerate(filter(None, LORAS.values())):
        adapters.write(workspace.parent / "loras" / f"{lora}.safetensors", seed=seed)
    page = visitor.open()
    panel(page).get_by_role("button", name="LoRAs").click()
    for name, words in PROJECTS.items():
        open_project(page, name)
        fill(page, Prompt=words)
        panel(page).get_by_label(STYLE[name]).check()
        choose_lora(page, LORAS[name])
        make_short(page)
        generate(page)
        expect(page.locator("#view .facts")).to_contain_text("Seed")
        page.locator("#recent .tile.done").first.wait_for()
        panel(page).get_by_role("button", name=re.compile("^Project")).click()
        panel(page).get_by_role("button", name="Save this form as the project's setup").click()
        expect(panel(page).get_by_text(f"Saved as the setup of {name}.")).to_be_visible()
        panel(page).get_by_role("button", name=re.compile("^Project")).click()

    setups = {project.id: project.setup for project in Projects(workspace / "projects").all()}
    assert [setups[name].preset for name in PROJECTS] == ["noir", "pastel", "moonlit"]
    assert {setups[name].num_inference_steps for name in PROJECTS} == {2}
    assert {name: "".join(lora.name for lora in setups[name].loras or ()) for name in PROJECTS} == LORAS
    made = {job.project: job.request.loras for job in OpenQueue(workspace / "studio.sqlite3").jobs.recent(3)}
    assert {name: "".join(lora.name for lora in made[name]) for name in PROJECTS} == LORAS

    for name in ("Client A", "Nacht", "Client B"):
        open_project(page, name)
        expect(prompt(page)).to_have_value(PROJECTS[name])
        expect(panel(page).get_by_label(STYLE[name])).to_be_checked()
        expect(loras(page)).to_have_count(1 if LORAS[name] else 0)
        expect(panel(page).get_by_label(f"Weight of {LORAS[name]}", exact=True)).to_have_count(1 if LORAS[name] else 0)
    page.get_by_role("tab", name="Gallery").click()
    expect(page.locator(".clip")).to_have_count(1)
    expect(page.locator(".clip")).to_contain_text(PROJECTS["Client B"])
    open_project(page, "Nacht")
    expect(page.locator(".clip")).to_contain_text(PROJECTS["Nacht"])
    page.get_by_role("tab", name="Queue").click()
    page.get_by_role("radio", name="Done").click()
    expect(page.locator("#queue-rows")).to_contain_text(PROJECTS["Nacht"])
    expect(page.locator("#queue-rows")).not_to_contain_text(PROJECTS["Client A"])
    visitor.reload(page)
    expect(page.get_by_role("combobox", name="Project", exact=True)).to_have_value("Nacht")
    page.get_by_role("tab", name="Create").click()
    expect(prompt(page)).to_have_value(PROJECTS["Nacht"])
