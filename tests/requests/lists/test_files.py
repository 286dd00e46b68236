"""Lists of clips: what spreadsheets and scripts write, and what a stranger may send."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from wan_pipeline.errors import UserError
from wan_pipeline.requests.lists import files, pictures
from wan_pipeline.requests.lists.clips import Row
from wan_pipeline.requests.lists.files import CSV_TEMPLATE, QueueFile, read_queue_file
from wan_pipeline.requests.request import Draft, LoraChoice
from wan_pipeline.studio import Studio


def read(tmp_path: Path, content: str | bytes, *, name: str = "jobs.csv", own_disk: bool = False) -> QueueFile:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_queue_file(path, tmp_path, own_disk=own_disk)


# CSV


def test_every_column_of_a_csv(tmp_path: Path) -> None:
    content = read(
        tmp_path,
        "prompt,negative-prompt,preset,seed,steps,guidance,flow-shift,scheduler,width,height,frames,fps,model,lora,project\n"
        'a red ball,"ugly, dull",noir,7,12,3.5,5,euler,320,192,17,8,demo,film=0.8;grain,night\n',
    )
    loras = (LoraChoice("film", 0.8), LoraChoice("grain", 1.0))
    draft = Draft("a red ball", None, "demo", "noir", "ugly, dull", 7, 320, 192, 17, 8, 12, 3.5, 5.0, "euler", loras)
    assert content == QueueFile((Row(2, draft, "night"),))


def test_the_template_can_be_queued_as_it_is(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text(CSV_TEMPLATE)
    with studio.lists.read(tmp_path / "jobs.csv") as content:
        assert content.problems == ()
        ids = studio.lists.submit(content)
    first, second = (studio.jobs.job(job_id) for job_id in ids)
    assert (first.request.preset, first.project, first.request.seed) == ("natural", "hills", 1)
    assert (second.request.prompt, second.request.guidance_scale) == ("a blue fish swims left, slowly", 3.5)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_csv_of_any_spreadsheet(separator: str, encoding: str, newline: str, tmp_path: Path) -> None:
    lines = [
        separator.join(cells) for cells in (("Prompt", "SEED", ""), ("ein roter Bällchen 红", "5", ""), ("", "", ""))
    ]
    content = read(tmp_path, newline.join(lines).encode(encoding))
    assert content == QueueFile((Row(2, Draft(prompt="ein roter Bällchen 红", seed=5)),))


def test_quoted_texts_and_row_numbers_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    content = read(tmp_path, 'prompt,seed\n"two\nlines, and ""quotes""",1\n\nb,x\n')
    assert content.rows == (Row(2, Draft(prompt='two\nlines, and "quotes"', seed=1)),)
    assert content.problems == ("Row 4, column seed: The seed 'x' is not a whole number; use one such as 16.",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty; its first row must name the columns"),
        ("\n\n", "is empty"),
        ("a red ball\na blue fish\n", "unknown column 'a red ball'; known: prompt, image"),
        ("prompt,prompt\na,b\n", "two columns 'prompt'"),
        ('prompt\n"never closed\n', "is no CSV file"),
        ("prompt\n" + "a\n" * 5001, "more than 5,000 rows; split it"),
        ("{}" * 5001, "more than 5,000 rows; split it"),
        ("prompt\na" + "\n" * 2**20, "more than 1,048,576 lines"),
        (b"prompt\n\x81\xf6\xfc\n", 'not UTF-8 text; save it as "CSV UTF-8"'),
        (b"prompt\n" + b"x" * files.MAX_LIST_BYTES, "larger than 16 MB"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not UTF-8"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_file_that_is_no_list_is_one_sentence(content: str | bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^jobs.csv|^The file") as raised:
        read(tmp_path, content)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a,1,,,surplus", "It has 5 cells, the header 4"),
        ("a,1.5,,", "column seed: The seed '1.5' is not a whole number"),
        ('a,,"3,500",', "column guidance: The guidance '3,500' is not a number"),
        ("a,,,film=much", "column lora: The weight of LoRA 'film' 'much' is not a number"),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_read(row: str, says: str, tmp_path: Path) -> None:
    content = read(tmp_path, f"prompt,seed,guidance,lora\n{row}\ngood,2,,\n")
    assert content.rows == (Row(3, Draft(prompt="good", seed=2)),)
    assert content.problems[0].startswith("Row 2") and says in content.problems[0]


# JSONL


def test_jsonl_takes_numbers_lists_and_either_spelling(tmp_path: Path) -> None:
    lines = [
        {"prompt": "a", "negative_prompt": "", "seed": 3, "guidance": 4, "lora": ["film=0.5", "a=b=2"], "steps": None},
        {"prompt": "b", "negative-prompt": "dull", "seed": "4", "lora": "film", "preset": ""},
    ]
    content = read(tmp_path, "\n\n".join(map(json.dumps, lines)), name="jobs.jsonl")
    loras = (LoraChoice("film", 0.5), LoraChoice("a=b", 2.0))
    assert content.rows == (
        Row(1, Draft(prompt="a", negative_prompt="", seed=3, guidance_scale=4.0, loras=loras)),
        Row(3, Draft(prompt="b", negative_prompt="dull", seed=4, loras=(LoraChoice("film"),))),
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "It cannot be read: it is not JSON"),
        ('{"prompt": "\\ud800 a"}', "It cannot be read: 'prompt' holds a lone surrogate"),
        ('{"prompt": "a", "guidance": NaN}', "It cannot be read: 'guidance' is nan"),
        ('{"prompt": "a", "seed": 1e400}', "It cannot be read: 'seed' is inf"),
        ('{"prompt": "a", "project": "' + "x" * 256 + '"}', "The project has 256 characters; at most 255"),
        ('["a"]', "It is a JSON list, not an object"),
        ('{"prompt": {"a": 1}}', 'Its prompt is {"a": 1}; write text or a number'),
        ('{"prompt": "a", "seed": true}', "Its seed is true"),
        ('{"prompt": "a", "seed": 1.5}', "The seed '1.5' is not a whole number"),
        ('{"prompt": "a", "lora": [1]}', "Its lora is [1]; write NAME=WEIGHT"),
        ("[" * 100_000, "It cannot be read: it is nested too deeply"),
    ],
    ids=lambda value: value[:20],
)
def test_a_bad_line_is_named(line: str, says: str, tmp_path: Path) -> None:
    content = read(tmp_path, f'{{"prompt": "good"}}\n{line}\n')
    assert [row.number for row in content.rows] == [1]
    assert content.problems[0].startswith("Row 2") and says in content.problems[0]


# Pictures, and hostile files


def test_pictures_are_found_beside_a_list_of_this_computer(tmp_path: Path, photo: Path) -> None:
    rows = read(tmp_path, f"prompt,image\na,photo.png\nb,{photo}\n", own_disk=True).rows
    assert [row.draft.image for row in rows] == [photo, photo]


def test_a_list_from_elsewhere_reads_nothing_on_this_disk(tmp_path: Path, photo: Path) -> None:
    for name in (str(photo), "photo.png", "../secret.png", "/etc/passwd"):
        content = read(tmp_path, f"prompt,image\na,{name}\n")
        assert "cannot be taken from another computer's disk; put it with the list" in content.problems[0]


def make_zip(path: Path, *lines: dict, **images: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(pictures.LIST_NAME, "\n".join(map(json.dumps, lines)))
        for name, content in images.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_pictures_of_a_zip_are_read_by_name_and_written_under_names_of_our_own(tmp_path: Path, photo: Path) -> None:
    lines = [
        {"prompt": "a", "image": name} for name in ("../../evil.png", "images/p.png", "../../evil.png", "gone.png")
    ]
    path = make_zip(tmp_path / "q.zip", *lines, **{"..__..__evil.png": photo.read_bytes(), "images__p.png": b"p"})
    (tmp_path / "inbox").mkdir()
    content = read_queue_file(path, tmp_path / "inbox", own_disk=True)
    assert [row.draft.image.parent for row in content.rows] == [tmp_path / "inbox"] * 3
    assert content.rows[0].draft.image.read_bytes() == photo.read_bytes()
    assert content.rows[0].draft.image == content.rows[2].draft.image
    assert content.problems == ("Row 4: The ZIP file holds no gone.png; export it again.",)
    assert not list(tmp_path.parent.glob("evil*"))


@pytest.mark.parametrize("spoil", ["cut", "no list", "bomb", "image bomb"])
def test_a_bad_zip_is_refused_in_a_sentence(spoil: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_zip(tmp_path / "q.zip", {"prompt": "a", "image": "images/p.png"}, images__p_png=b"")
    if spoil == "cut":
        content = bytearray(path.read_bytes())
        content[40:60] = b"\xff" * 20
        path.write_bytes(content)
    elif spoil == "no list":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.txt", "a")
    else:
        monkeypatch.setattr(files, "MAX_LIST_BYTES", 10_000)
        monkeypatch.setattr(pictures, "MAX_PICTURE_BYTES", 10_000)
        listed = {"prompt": "a" * 20_000} if spoil == "bomb" else {"prompt": "a", "image": "p"}
        make_zip(path, listed, p=bytes(20_000))
    with pytest.raises(UserError, match=r"cannot be read|holds no queue.jsonl|larger than") as raised:
        content = read_queue_file(path, tmp_path, own_disk=False)
        raise UserError(content.problems[0])
    assert "\n" not in str(raised.value)
