"""Take the pictures of docs/filmmaking.md and docs/handover.md: `python docs/scripts/picture_film.py`.

It serves the app on a workspace of its own, which is removed at the end, makes a film of six shots with the demo model
there, and opens its page and that of a reviewer in a headless Chromium: some minutes on two cores. `--workspace DIR`
names an empty folder that is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from wan_pipeline.cli import main as cli
from wan_pipeline.clips.naming import poster_path

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 120_000
WAIT = 180_000
"""Milliseconds: the longest for anything, a clip on a busy machine too."""
STUDIO = "studio.example"
"""The name by which the reviewer's browser knows this computer; only an app that is shared has guests."""
FILM = "Voyage"
SETUP = ("--frames", "17")
DRAFT = ("steps=8", "width=256", "height=160")
FINAL = ("steps=12", "width=320", "height=192")
CAST = {"balloon": ("a red balloon", False), "hills": ("green hills", True)}
SHOTS = """scene,shot,description,notes
1,010,@balloon flies up over @hills,The sun is behind us
1,020,a white bird flies right in the day sky,
2,030,an orange boat moves right on the sea,Calm water
2,040,a purple fish swims left in the sea,
3,050,a yellow star spins in the night sky,
3,060,a pink heart grows over the snow,
"""
TAKES = {"010": (3, 8), "020": (2, 5), "030": (4,), "040": (6, 1), "050": (9, 2), "060": (5,)}
"""Seeds of each shot's takes."""
GRID = "guidance=3,5\nlora:demo-dusk=0,0.5,1"
"""The first of these six is take 1, and is not made again."""
GRID_TAKES = 6
PICKS = {"010": 1, "020": 2, "030": 5, "050": 1}
FINISHED = ("010", "030")


@dataclass(frozen=True)
class Studio:
    """The app that is served, with the film in its workspace."""

    workspace: Path
    port: int

    def run(self, *words: str) -> dict[str, Any]:
        """A command of the command line. Gives the object that it prints last."""
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            status = cli([*words, "--json", "--workspace", str(self.workspace)])
        if status:
            raise SystemExit(f"{' '.join(words)} ended with {status}: {told.getvalue()}")
        found: dict[str, Any] = json.loads(told.getvalue().splitlines()[-1])
        return found

    def shots(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.run("shots", "list", "--project", FILM)["shots"]
        return found

    def takes(self, shot: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = next(each["takes"] for each in self.shots() if each["shot"] == shot)
        return found

    def wait(self) -> None:
        """Until no take waits or is made."""
        until = time.monotonic() + 10 * WAIT / 1000
        while any(take["state"] != "done" for shot in self.shots() for take in shot["takes"]):
            if time.monotonic() > until:
                raise SystemExit("The takes are not finished in time.")
            time.sleep(2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workspace", type=Path, help="where the film is made, and kept")
    options = parser.parse_args()
    expect.set_options(timeout=WAIT)
    with workspace(options.workspace) as folder, served(folder) as studio, chromium() as browser:
        page = visit(browser, f"http://127.0.0.1:{studio.port}/")
        make_film(studio, page)
        shots_room(page)
        compare(studio, page)
        contact_sheet(studio)
        reviewer(browser, studio)
        answered(page)
        studio.run("finish", "--project", FILM, "--picked", "--keep-layout")
        studio.wait()
        cut_room(page)
        finishing(studio, page)


# The film -----------------------------------------------------------------------------------------------------------


def make_film(studio: Studio, page: Page) -> None:
    """Shots, takes, a grid, picks and finals; the grid by its dialog, of which this takes the picture."""
    profiles = [word for name, values in (("--draft", DRAFT), ("--final", FINAL)) for value in values
                for word in (name, value)]  # fmt: skip
    studio.run("projects", "create", FILM, *SETUP, *profiles)
    table = studio.workspace / "shots.csv"
    table.write_text(SHOTS)
    for name, (sentence, is_place) in CAST.items():
        place = ("--place",) if is_place else ()
        studio.run("characters", "add", name, "--sentence", sentence, "--project", FILM, *place)
    studio.run("shots", "add", "--file", str(table), "--project", FILM)
    for shot, seeds in TAKES.items():
        for seed in seeds:
            studio.run("take", shot, "--seed", str(seed), "--project", FILM)
    studio.wait()
    open_room(page, "Shots")
    grid(page)
    studio.wait()
    poster = poster_path(Path(studio.takes("010")[0]["clip"]))
    studio.run("characters", "edit", "balloon", "--picture", str(poster), "--project", FILM)
    for shot, take in PICKS.items():
        studio.run("shots", "pick", shot, "--take", str(take), "--project", FILM)
    studio.run("shots", "reject", "040", "--take", "2", "--project", FILM)
    picked = {shot: studio.takes(shot)[PICKS[shot] - 1]["id"] for shot in FINISHED}
    studio.run("finish", *picked.values(), "--keep-layout")
    studio.wait()


def grid(page: Page) -> None:
    row = shot_row(page, "2/030")
    row.locator(".take").first.focus()
    page.keyboard.press("Enter")
    dialog = page.locator(".shots-dialog")
    dialog.get_by_role("button", name="Again with…").click()
    dialog.locator("textarea").fill(GRID)
    dialog.locator("h2").click()
    queue = dialog.get_by_role("button", name=f"Queue {GRID_TAKES - 1} takes")
    queue.wait_for()
    picture(page, "film-grid", 600)
    queue.click()
    expect(row.locator(".take")).to_have_count(GRID_TAKES)


# The pictures of filmmaking.md ---------------------------------------------------------------------------------------


def shots_room(page: Page) -> None:
    open_room(page, "Shots")
    page.reload()
    page.locator(".shot").nth(5).wait_for()
    settle(page)
    picture(page, "film-shots")
    page.get_by_role("button", name="Characters and places").click()
    page.locator(".cast-card").nth(1).wait_for()
    picture(page, "film-characters", 600)
    page.keyboard.press("Escape")


def compare(studio: Studio, page: Page) -> None:
    """Two takes of the grid."""
    open_room(page, "Gallery")
    takes = studio.takes("030")
    for take in (takes[0], takes[4]):
        clip = page.locator(f".clip[data-clip='{take['id']}']").first
        clip.hover()
        clip.get_by_role("button", name="Choose").click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.locator(".compare .playing").wait_for()
    page.locator(".compare [data-play]").click()
    seek(page.locator(".compare [data-scrub]"), 500)
    picture(page, "film-compare", 690)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Choose none").click()


def contact_sheet(studio: Studio) -> None:
    """The grid, with its axes."""
    path = studio.workspace / "sheet.png"
    takes = [take["id"] for take in studio.takes("030")[:GRID_TAKES]]
    studio.run("contact-sheet", *takes, "--output", str(path))
    store(Image.open(path), "film-contact-sheet")


def reviewer(browser: Browser, studio: Studio) -> None:
    """A guest draws a mark on a frame and comments on it; and what they see on a phone."""
    key = studio.run("share", "--role", "view", "--project", FILM)["key"]
    address = f"http://{STUDIO}:{studio.port}/?key={key}"
    page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5, reduced_motion="reduce")
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.locator("#reel li").nth(len(PICKS) - 1).wait_for()
    settle(page)
    picture(page, "film-review-reel")
    review(page, "Start a little higher, please: the string touches the hill.")
    picture(page, "film-review")
    page.locator("#frame-form button[type=submit]").click()
    page.locator("#frame-comments li").wait_for()
    page.get_by_role("button", name="Ask for changes").click()
    page.close()
    phone = browser.new_page(viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True,
                             is_mobile=True, reduced_motion="reduce")  # fmt: skip
    phone.set_default_timeout(WAIT)
    phone.goto(address)
    phone.locator("#reel li").nth(len(PICKS) - 1).wait_for()
    review(phone, "")
    phone.locator("#frame-comments .at").first.click()
    settle(phone)
    picture(phone, "film-review-phone")
    phone.close()


def review(page: Page, comment: str) -> None:
    """Open the first shot at its ninth frame; with a comment also a mark around the balloon."""
    page.get_by_role("button", name="Review shot 1/010").click()
    page.locator("#viewed").evaluate(
        "video => new Promise(done => video.readyState > 1 ? done() : video.oncanplay = done)"
    )
    page.locator("#frame-place").fill("8")
    expect(page.locator("#frame-number")).to_have_text("frame 8")
    if not comment:
        return
    box = page.locator("#drawing").bounding_box()
    if box is None:
        raise SystemExit("The review page shows no frame to draw on.")
    points = [(0.405 + 0.12 * math.cos(turn / 4), 0.4 + 0.23 * math.sin(turn / 4)) for turn in range(27)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()
    page.get_by_label("Your comment at this frame").fill(comment)


def answered(page: Page) -> None:
    """The owner finds the comment with the take."""
    open_room(page, "Shots")
    row = shot_row(page, "1/010")
    row.locator(".take").last.focus()
    page.keyboard.press("Enter")
    page.locator(".shots-dialog .review li").wait_for()
    page.locator(".shots-dialog .frame-number").click()
    page.locator(".take-view polyline").wait_for(state="attached")
    settle(page)
    picture(page, "film-answer")
    page.keyboard.press("Escape")


# The pictures of handover.md -----------------------------------------------------------------------------------------


def cut_room(page: Page) -> None:
    """All picked takes, by finals of one size."""
    open_room(page, "Cut")
    pieces = page.locator(".cut-piece")
    page.get_by_role("button", name="Add all in the order of the shots").click()
    expect(pieces).to_have_count(len(PICKS))
    pieces.nth(1).locator(".cut-face").click()
    page.get_by_label("Dissolve").fill("6")
    page.keyboard.press("Enter")
    expect(page.locator(".cut-dissolve")).to_have_count(1)
    page.get_by_label("Title", exact=True).fill("The voyage begins")
    page.locator(".cut-inspector h3").click()
    expect(pieces.nth(1)).to_contain_text("T")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.cut-layer video')].every(each => each.readyState > 2)"
    )
    page.evaluate("() => { wanCut.show(19); scrollTo(0, 0); }")
    settle(page)
    picture(page, "film-cut")
    page.locator(".cut-acts").get_by_role("button", name="Export").click()
    page.get_by_role("dialog").wait_for()
    settle(page)
    picture(page, "film-cut-export")
    page.keyboard.press("Escape")


def finishing(studio: Studio, page: Page) -> None:
    """An open clip with a sound, and with what makes its frames larger."""
    sound = studio.workspace / "wind.wav"
    write_wind(sound)
    studio.run("sound", "add", studio.takes("010")[-1]["id"], str(sound), "--loudness", "-16")
    open_room(page, "Gallery")
    page.locator(".clip").first.click()
    sheet = page.locator(".sheet")
    sheet.locator(".wave").wait_for()
    for name, part in (("film-sound", "Sound"), ("film-upscale", "Upscale and smooth")):
        summary = sheet.locator("summary", has_text=part)
        summary.click()
        sheet.locator("video").evaluate("video => { video.pause(); video.currentTime = 0.5; }")
        sheet.locator(".sheet-side").evaluate("(side, top) => { side.scrollTop = top; }", 300)
        settle(page)
        picture(page, name)
        summary.click()


def write_wind(path: Path, seconds: float = 1.1, rate: int = 24_000) -> None:
    """A tone that swells and falls, as a WAV file."""
    count = int(seconds * rate)
    levels = (math.sin(place / 30) * math.sin(math.pi * place / count) ** 2 * (0.6 + 0.4 * math.sin(place / 900))
              for place in range(count))  # fmt: skip
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(b"".join(int(level * 20_000).to_bytes(2, "little", signed=True) for level in levels))


# The app, the browser, the files -------------------------------------------------------------------------------------


@contextmanager
def workspace(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.absolute()
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@contextmanager
def served(folder: Path) -> Iterator[Studio]:
    """The app, until it is no longer needed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--port", str(port), "--workspace", str(folder), "--host-name", STUDIO]
    with (folder / "app.log").open("wb") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as app:
        try:
            wait_for_port(port, app)
            yield Studio(folder, port)
        finally:
            app.terminate()


def wait_for_port(port: int, app: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + WAIT / 1000
    while app.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit("The app did not start; its log is app.log in the workspace.")


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium-headless-shell") or shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", f"--host-resolver-rules=MAP {STUDIO} 127.0.0.1"],
        )
        yield browser
        browser.close()


def visit(browser: Browser, address: str) -> Page:
    """The owner's page."""
    page = browser.new_page(viewport={"width": 1200, "height": 900}, device_scale_factor=1.5, reduced_motion="reduce")
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.locator(".estimate:visible").wait_for()
    return page


def open_room(page: Page, room: str) -> None:
    """A room of the page, with the film as the open project."""
    if page.evaluate("localStorage.getItem('wan-studio-project')") != FILM:
        box = page.get_by_role("combobox", name="Project", exact=True)
        box.fill(FILM)
        box.press("Enter")
        page.wait_for_function("name => localStorage.getItem('wan-studio-project') === name", arg=FILM)
    page.get_by_role("tab", name=room, exact=True).click()
    settle(page)


def shot_row(page: Page, address: str) -> Locator:
    return page.locator(f".shot[aria-label='Shot {address}']")


def seek(slider: Locator, value: int) -> None:
    slider.evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def settle(page: Page) -> None:
    """Time for images and fonts; the pointer is out of the way."""
    page.mouse.move(2, 2)
    page.wait_for_timeout(1500)


def picture(page: Page, name: str, height: int = 0) -> None:
    """What is seen of the page, or only the uppermost so many pixels of it."""
    size = page.viewport_size or {"width": 1200, "height": 900}
    shown = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"]}
    store(Image.open(io.BytesIO(page.screenshot(clip=shown))), name)


def store(image: Image.Image, name: str) -> None:
    """As WebP, at the best quality that stays small."""
    for quality in (88, 82, 76, 70, 60):
        content = io.BytesIO()
        image.convert("RGB").save(content, "WEBP", quality=quality, method=6)
        if content.tell() <= MOST_BYTES:
            (IMAGES / f"{name}.webp").write_bytes(content.getvalue())
            sys.stderr.write(f"{name}.webp {content.tell() // 1000} KB\n")
            return
    raise SystemExit(f"{name} is larger than {MOST_BYTES} bytes.")


if __name__ == "__main__":
    main()
