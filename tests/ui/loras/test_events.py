"""The LoRAs room, on a real studio with files in its folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from tests.support import adapters, tiny
from tests.support.files.clips import put
from tests.support.pages import NASTY, TEMPLATES, Reader, assert_harmless, page_links
from wan_pipeline.models.registry import WAN22_T2V_A14B
from wan_pipeline.models.spec import Mode
from wan_pipeline.requests.request import LoraChoice
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio
from wan_pipeline.ui.common.events import Updates
from wan_pipeline.ui.create.fields.loras import LoraRow, read_rows
from wan_pipeline.ui.loras.events import LorasEvents
from wan_pipeline.ui.loras.layout import LorasLayout
from wan_pipeline.ui.loras.shelf import PAGE_SIZE, LoraShelves, Query


class Tab:
    """A browser tab that shows the room: it keeps what it shows."""

    def __init__(self, studio: Studio) -> None:
        with gr.Blocks() as page:
            self.layout = LorasLayout()
            self.links = page_links(page, studio)
        self.events = LorasEvents(studio, TEMPLATES, self.layout, self.links.filler)
        self.values: dict[Any, Any] = {box: box.value for box in self.events.act_inputs}
        self.keep(self.events.enter(self.values))

    @property
    def grid(self) -> Reader:
        return Reader(self.values[self.layout.grid])

    @property
    def names(self) -> list[str]:
        return [value for name, value in self.grid.attributes if name == "data-clip" and value]

    def search(self, **filters: Any) -> list[str]:
        self.values |= {getattr(self.layout, name): value for name, value in filters.items()}
        self.keep(self.events.search(self.values))
        return self.names

    def click(self, act: str, lora: str = "", text: str = "") -> Updates:
        return self.keep(self.events.act(self.values, gr.EventData(None, {"act": act, "clip": lora, "text": text})))

    def keep(self, updates: Updates) -> Updates:
        plain = {box: value for box, value in updates.items() if isinstance(value, str | int | dict)}
        self.values |= {box: value for box, value in plain.items() if not _is_skipped(value)}
        return updates


def _is_skipped(value: object) -> bool:
    return isinstance(value, dict) and "__type__" in value


@pytest.fixture
def loras(settings: Settings) -> Path:
    """A pair of matrices for each of the tiny model's layers, the same in a folder below, and a file that is none."""
    adapters.write(settings.loras / "ink.safetensors")
    (settings.loras / "people").mkdir()
    adapters.write(settings.loras / "people" / "anna.safetensors")
    (settings.loras / "broken.safetensors").write_bytes(b"no safetensors")
    return settings.loras


@pytest.fixture
def tab(studio: Studio, loras: Path) -> Tab:
    return Tab(studio)


def test_cards_say_what_a_file_is_and_what_applies(tab: Tab, studio: Studio) -> None:
    assert tab.names == ["broken", "ink", "people/anna"]
    keys = 2 * len(adapters.SHAPES)
    assert f"{keys} of {keys} keys apply to" in tab.grid.text
    assert f"rank {adapters.RANK}" in tab.grid.text
    assert "LoRA 'broken' cannot be read" in tab.grid.text
    assert "'disabled'" in str(tab.grid.attributes)


def test_search_folder_and_what_fits(tab: Tab) -> None:
    assert tab.search(text="AN") == ["people/anna"]
    assert tab.search(text="", folder="people") == ["people/anna"]
    assert tab.search(folder="", fits=True) == ["ink", "people/anna"]
    assert tab.search(text="nowhere") == [] and "Nothing found" in tab.grid.text


def test_search_finds_notes_trigger_words_and_bases_too(tab: Tab, studio: Studio, loras: Path) -> None:
    said = {"modelspec.trigger_phrase": "ohwx harbour", "ss_base_model_version": "wan2.1-t2v-14b"}
    adapters.write(loras / "sea.safetensors", metadata=said)
    tab.click("note", "people/anna", "For the Harbour film")
    assert tab.search(text="harbour") == ["people/anna", "sea"], "by note before by what is in files"
    assert tab.search(text="SEA t2v ohwx") == ["sea"] and tab.search(text="harbour people") == ["people/anna"]
    shelves = LoraShelves(studio)
    late = shelves.find(Query(text="harbour"), None, -1.0)
    assert [card.facts.name for card in late.cards] == ["people/anna"] and late.looked_at == 0, "no file was read"
    first = shelves.find(Query(text="a", limit=1), None, 5.0)
    assert len(first.cards) == 1 and first.looked_at is None, "the page is full: no file is read for more"


def test_a_folder_that_is_gone_filters_nothing(tab: Tab, loras: Path) -> None:
    assert tab.search(folder="people") == ["people/anna"]
    (loras / "people" / "anna.safetensors").unlink()
    left = tab.keep(tab.events.search(tab.values))
    assert left[tab.layout.folder].value == "" and tab.names == ["broken", "ink"]


def test_a_long_list_is_shown_a_page_at_a_time(tab: Tab, loras: Path) -> None:
    for number in range(PAGE_SIZE):
        (loras / f"many {number:02d}.safetensors").hardlink_to(loras / "ink.safetensors")
    assert len(tab.search()) == PAGE_SIZE
    tab.click("more")
    assert len(tab.names) == PAGE_SIZE + 3 and "more" not in tab.grid.acts


def test_the_room_follows_the_folder_and_is_still_otherwise(tab: Tab, loras: Path) -> None:
    assert tab.layout.grid in tab.keep(tab.events.follow(tab.values)), "with the hashes of all files at once"
    seen = {box: tab.values[box] for box in tab.events.inputs}
    assert list(tab.events.follow(seen)) == [tab.layout.shown]
    adapters.write(loras / "late.safetensors", seed=7)
    tab.keep(tab.events.follow(tab.values))
    assert "late" in tab.names


@pytest.mark.usefixtures("loras")
def test_cards_wait_for_the_hashes_of_all_files(studio: Studio) -> None:
    shelves, no_time = LoraShelves(studio), -1.0
    shelf = shelves.find(Query(), None, 5.0)
    first = shelves.hashed(shelf, no_time)
    assert sum(card.sha256 != "" for card in first.cards) == 1 and first.settled == shelf
    last = shelves.hashed(first, 5.0)
    assert all(card.sha256 for card in last.cards) and last.settled == last


@pytest.mark.usefixtures("loras")
def test_finding_what_fits_keeps_its_time_for_known_files_too(studio: Studio) -> None:
    shelves, fits = LoraShelves(studio), Query(fits=True)
    assert shelves.find(fits, None, 5.0).looked_at is None
    assert shelves.find(fits, None, -1.0).looked_at == 0


def test_a_note_stays_with_a_file_that_is_renamed(tab: Tab, loras: Path) -> None:
    tab.click("note", "ink", "for the sea")
    (loras / "ink.safetensors").rename(loras / "wash.safetensors")
    for _ in tab.names:
        tab.keep(tab.events.follow(tab.values))
    assert "wash" in tab.names and "for the sea" in tab.grid.text
    tab.click("note", "wash", " ")
    assert "for the sea" not in tab.grid.text


def test_the_expert_of_a_file_is_asked_once(settings: Settings, studio: Studio) -> None:
    tiny.write_experts_text(settings.models / WAN22_T2V_A14B.id)
    adapters.write(settings.loras / "style.safetensors", but="proj_out")
    tab = Tab(studio)
    form = tab.links.filler.forms[Mode.TEXT_TO_VIDEO].form
    tab.values[form["model"]] = WAN22_T2V_A14B.id
    tab.search()
    assert "For which expert is it?" in tab.grid.text and "high and low noise" in tab.grid.text
    assert "is no expert" in str(tab.click("expert", "style", "middle")[tab.layout.toast])
    tab.click("expert", "style", "low")
    assert "For which expert is it?" not in tab.grid.text and ", low noise" in tab.grid.text


def test_use_and_trigger_words_go_into_the_open_form(tab: Tab) -> None:
    used = tab.click("use", "ink")
    text = next(value for box, value in used.items() if box in tab.links.filler.inputs)
    assert read_rows(text) == (LoraRow("ink"),)
    words = tab.click("words", "ink", "ohwx ink")
    assert any(str(value).endswith(", ohwx ink") for value in words.values())


def test_the_newest_clip_is_the_picture(tab: Tab, studio: Studio) -> None:
    for hour, name in enumerate(("old", "new")):
        put(studio.settings.clips, name, hour=hour, loras=(LoraChoice("ink"),))
    studio.gallery.rescan()
    tab.search()
    (picture,) = (value for name, value in tab.grid.attributes if name == "src")
    assert picture is not None and studio.gallery.clip("job-new").poster.name in picture


def test_a_file_is_checked_before_it_is_added(tab: Tab, studio: Studio, loras: Path, tmp_path: Path) -> None:
    new = adapters.write(tmp_path / "new.safetensors")
    said = tab.events.add({**tab.values, tab.layout.upload: str(new)})
    assert "new is in the folder" in str(said[tab.layout.toast])
    assert (loras / "new.safetensors").read_bytes() == new.read_bytes()
    said = tab.events.add({**tab.values, tab.layout.upload: str(new)})
    assert "There is a LoRA &#39;new&#39; in the folders already" in str(said[tab.layout.toast])
    for name in ("bad.safetensors", "bad.pt"):
        (tmp_path / name).write_bytes(b"pickle")
        tab.events.add({**tab.values, tab.layout.upload: str(tmp_path / name)})
    assert not list(loras.glob("bad*"))


def test_what_a_file_says_of_itself_is_text(tab: Tab, loras: Path) -> None:
    adapters.write(loras / "nasty.safetensors", metadata={"modelspec.trigger_phrase": NASTY})
    tab.search(text="nasty")
    assert_harmless(tab.values[tab.layout.grid])


def test_a_picture_beside_a_file_is_on_its_card(studio: Studio, settings: Settings) -> None:
    for name in ("ink", "wash", "bad"):
        adapters.write(settings.loras / f"{name}.safetensors")
    Image.new("RGB", (1000, 600), "red").save(settings.loras / "ink.preview.png")
    (settings.loras / "bad.webp").write_bytes(b"no picture")
    tab = Tab(studio)
    shown = dict(tab.grid.attributes)
    assert shown["alt"] == "Picture of ink"
    assert shown["loading"] == "lazy"
    with Image.open(served(tab)) as small:
        assert small.size == (400, 240)
        assert small.convert("RGB").getpixel((200, 120))[0] > 240
    first = served(tab)
    Image.new("RGB", (1000, 600), "green").save(settings.loras / "ink.preview.png", compress_level=0)
    tab.keep(tab.events.enter(tab.values))
    assert served(tab) != first, "the browser has kept the old one"
    Image.new("RGB", (100, 60), "blue").save(settings.loras / "wash.jpg")
    (settings.loras / "ink.preview.png").unlink()
    tab.keep(tab.events.enter(tab.values))
    assert [value for name, value in tab.grid.attributes if name == "alt"] == ["Picture of wash"]


def served(tab: Tab) -> Path:
    """The only picture in the grid, a file where Gradio serves it."""
    (source,) = [value for name, value in tab.grid.attributes if name == "src"]
    path = Path(source.removeprefix("gradio_api/file="))
    assert path.is_relative_to(get_upload_folder()), "other folders are served to nobody"
    return path


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("switching")
def test_several_looks_at_once_show_the_same_pictures(studio: Studio, settings: Settings) -> None:
    """The pictures were kept in a dict that all looks changed at once."""
    pictures = [settings.loras / f"{number}.png" for number in range(PAGE_SIZE)]
    for number, picture in enumerate(pictures):
        adapters.write(picture.with_suffix(".safetensors"))
        Image.new("RGB", (32, 32), (number, 0, 0)).save(picture)
    shelves = LoraShelves(studio)
    with ThreadPoolExecutor(8) as threads:
        looks = [threads.submit(shelves.find, Query(), None, 60.0) for _ in range(150)]
        while not all(look.done() for look in looks):  # pictures go and come meanwhile
            for there, elsewhere in ((".png", ".away"), (".away", ".png")):
                for picture in pictures:
                    picture.with_suffix(there).rename(picture.with_suffix(elsewhere))
        for look in looks:
            look.result()
    assert all(card.picture for card in LoraShelves(studio).find(Query(), None, 60.0).cards)
