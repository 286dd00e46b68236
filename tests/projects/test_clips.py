"""Clips of the queue have their project's settings, names and copies."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.studios import QUICK
from wan_pipeline.clips.gallery import GalleryQuery
from wan_pipeline.clips.receipt import load_receipt
from wan_pipeline.errors import ProjectError, UserError
from wan_pipeline.jobs.job import JobState
from wan_pipeline.jobs.worker.worker import Worker
from wan_pipeline.models.precision import Precision
from wan_pipeline.progress import Progress, SilentObserver
from wan_pipeline.projects.clips import JobOptions
from wan_pipeline.projects.project import Profile, Project
from wan_pipeline.requests.layers import Setup
from wan_pipeline.settings import Settings
from wan_pipeline.studio import Studio

CLIENT = Project(
    "Client A",
    "Client A",
    Setup(prompt_after="warm light", fps=8),
    Profile(num_inference_steps=1),
    naming="{project}/{take:03}",
)
BARE = replace(QUICK, num_inference_steps=None)


def test_a_clip_of_the_queue_lies_where_its_project_says(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    studio.projects.create(replace(CLIENT, output=str(tmp_path / "out")))
    job_ids = [studio.submit(BARE, "client a", profile="draft"), studio.submit(BARE, "Client A", profile="draft")]
    studio.queue.cancel(job_ids[1])
    Worker(settings).run()
    job = studio.jobs.existing(job_ids[0])
    assert (job.state, job.clip, job.warnings) == (JobState.DONE, settings.clips / "Client A" / "001.mp4", ())
    assert job.clip is not None and (tmp_path / "out" / "Client A" / "001.mp4").read_bytes() == job.clip.read_bytes()
    receipt = load_receipt(job.clip)
    assert (receipt.project, receipt.request.fps, receipt.request.styled_prompt) == (
        "Client A",
        8,
        "a red ball, warm light",
    )
    assert (receipt.request.layers["fps"], receipt.request.layers["num_inference_steps"]) == ("project", "project")

    def shown(*, binned: bool = False) -> list[Path]:
        return [clip.path for clip in studio.gallery.page(GalleryQuery(project="Client A", binned=binned), 0, 9).items]

    assert shown() == [job.clip] and studio.gallery.rescan() == 0
    studio.gallery.bin([job.id])
    assert shown(binned=True) == [settings.clips / "bin" / "Client A" / "001.mp4"] and not job.clip.exists()
    assert studio.gallery.rescan() == 0 and shown() == []
    studio.gallery.unbin([job.id])
    assert shown() == [job.clip] and job.poster is not None and job.poster.is_file()


def test_a_taken_name_is_never_used_again(studio: Studio) -> None:
    studio.projects.create(replace(CLIENT, naming="{seed}"))
    jobs = [studio.jobs.existing(studio.submit(BARE, "Client A")) for _ in range(3)]
    assert [job.clip_name for job in jobs] == ["1", "1_2", "1_3"]
    studio.edit(jobs[2].id, replace(BARE, seed=9))
    edited = studio.jobs.existing(jobs[2].id)
    assert (edited.clip_name, edited.request.fps) == ("9", 8)


@pytest.mark.parametrize("naming", ["{project}/{take:03}", "{seed}", "{take}_{date}_{time}"])
def test_an_edited_clip_keeps_the_name_that_was_reserved(studio: Studio, naming: str) -> None:
    studio.projects.create(replace(CLIENT, naming=naming))
    jobs = [studio.jobs.existing(studio.submit(BARE, "Client A")) for _ in range(3)]
    time.sleep(1.1 if "time" in naming else 0)
    studio.edit(jobs[1].id, replace(BARE, prompt="a blue ball"))
    edited = studio.jobs.existing(jobs[1].id)
    assert (edited.clip_name, edited.request.prompt) == (jobs[1].clip_name, "a blue ball")


def test_a_list_looks_each_project_up_once(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio.projects.create(CLIENT)
    (tmp_path / "list.csv").write_text("prompt,project\n" + "a,Client A\n" * 40)
    with studio.lists.read(tmp_path / "list.csv") as content:
        find, asked = studio.projects.find, list[str]()
        monkeypatch.setattr(studio.projects, "find", lambda name: asked.append(name) or find(name))
        assert len(studio.lists.submit(content)) == 40
    assert asked.count("Client A") <= 2


def test_a_clip_without_the_queue_and_jobs_never_share_a_name(studio: Studio, settings: Settings) -> None:
    studio.projects.create(replace(CLIENT, naming="{seed}"))
    assert studio.jobs.existing(studio.submit(BARE, "Client A")).clip_name == "1"
    names = studio.project_clips.job(studio.jobs.recent(1)[0].request, "Client A").names
    assert names is not None
    assert studio.queue.reserve_clip(names, "Client A", settings.clips) == settings.clips / "1_2.mp4"
    assert studio.jobs.existing(studio.submit(BARE, "Client A")).clip_name == "1_3"


def test_a_clip_that_is_not_made_gives_its_name_back(studio: Studio, settings: Settings) -> None:
    studio.projects.create(CLIENT)

    class Stop(SilentObserver):
        def progress(self, progress: Progress) -> None:
            assert (settings.clips / "Client A" / "001.mp4").is_file()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        studio.in_process.render(BARE, None, Stop(), project="Client A", profile="draft")
    assert not list(settings.clips.rglob("*.mp4"))


def test_a_jobs_draft_resolves_to_its_request_whatever_its_project_says_now(studio: Studio) -> None:
    job_id = studio.submit(replace(BARE, preset=None, num_inference_steps=1), "")
    exported = studio.lists.export()
    setup = Setup(preset="noir", prompt_after="cold light", quantization=Precision.INT8, first_block_cache=0.1)
    studio.projects.create(Project("default", "Default", setup))
    with studio.lists.read(exported) as content:
        again = [studio.submit(studio.drafts.of_job(job_id)), *studio.lists.submit(content)]
    assert [studio.jobs.existing(each).request for each in again] == [studio.jobs.existing(job_id).request] * 2


def test_a_draft_with_a_fault_makes_no_project(studio: Studio) -> None:
    wrong = replace(BARE, preset="gone")
    with pytest.raises(UserError):
        studio.submit(wrong, "Typo")
    with pytest.raises(UserError):
        studio.in_process.render(wrong, None, SilentObserver(), project="Typo")
    assert studio.projects.find("Typo") is None


def test_a_queued_clip_keeps_its_setup_through_a_list(studio: Studio) -> None:
    studio.projects.create(CLIENT)
    kept = studio.jobs.existing(studio.submit(replace(BARE, seed=4), "Client A"))
    exported = studio.lists.export()
    studio.projects.save(replace(CLIENT, setup=Setup(prompt_after="cold light", fps=24, preset="noir")))
    with studio.lists.read(exported) as content:
        (again,) = studio.lists.submit(content)
    assert studio.jobs.existing(again).request == kept.request


def test_a_copy_that_cannot_be_written_fails_no_clip(studio: Studio, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    studio.projects.create(replace(CLIENT, output=str(tmp_path / "file")))
    job_id = studio.submit(BARE, "Client A", profile="draft")
    Worker(settings).run()
    job = studio.jobs.existing(job_id)
    assert job.state is JobState.DONE and "could not be copied to its project's output folder" in job.warnings[0]


def test_the_home_is_that_of_the_owners_setting(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for output, folder in (
        ("~/out", str(tmp_path / "home" / "out")),
        ("out", str(tmp_path / "out")),
        ("", ""),
        ("~nobody-of-this-name/out", "~nobody-of-this-name/out"),  # `copy_clip` refuses it
    ):
        studio.projects.save(replace(CLIENT, output=output))
        assert studio.jobs.existing(studio.submit(BARE, "Client A")).output == folder
    assert studio.projects.existing("Client A").output == "~nobody-of-this-name/out", "as it was written"


def test_an_output_folder_that_no_disk_takes_is_refused_in_the_file(studio: Studio) -> None:
    path = studio.projects.path(studio.projects.create(CLIENT).id)
    path.write_text('output = "/out\\u0000"\n', encoding="utf-8")
    with pytest.raises(ProjectError, match=r"line 1: 'output' = .* it holds a zero character"):
        studio.projects.find("Client A")


@pytest.mark.parametrize("project", ["", "Nacht"])
def test_a_guests_clip_has_the_setup_of_their_keys_project(studio: Studio, project: str) -> None:
    studio.projects.create(Project(project or "default", project or "Default", Setup(fps=9)))
    job_id = studio.submit_for(QUICK, project, JobOptions(made_by="0badcafe"), lambda request: None)
    job = studio.jobs.existing(job_id)
    assert (job.project, job.request.fps) == (project, 9)
