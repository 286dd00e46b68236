"""`show` and `verify` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from wan_pipeline.cli import main
from wan_pipeline.clips.read import read_receipt
from wan_pipeline.settings import REPOSITORY, Settings
from wan_pipeline.studio import Studio

MODEL = "wan2.2-ti2v-5b"
"""The tiny model takes the place of this one."""
QUICK = ["--prompt", "a red ball", "--width", "160", "--height", "128", "--frames", "5", "--steps", "2", "--seed", "7"]


@pytest.fixture
def folders(tmp_path: Path, tiny_demo: Path) -> list[str]:
    """Options that keep a command inside `tmp_path`, but for the presets."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / MODEL).symlink_to(tiny_demo, target_is_directory=True)
    return [f"--{name}={tmp_path / name.split('-')[0]}" for name in ("workspace", "models-folder", "loras-folder")]


@pytest.fixture
def clip(folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main([*folders, "generate", "--model", MODEL, *QUICK, "--output", str(tmp_path / "a.mp4")]) == 0
    capsys.readouterr()
    return tmp_path / "a.mp4"


def test_show_is_for_people_and_for_programs(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(clip)]) == 0
    shown = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    facts = {name: value.strip() for name, value in shown.items()}
    assert facts["prompt"] == "a red ball" and facts["seed"] == "7"
    assert facts["size"] == "160 x 128, 5 frames at 24 a second"
    assert main(["show", str(clip), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_receipt(clip)


@pytest.mark.soak
def test_a_forced_plan_is_kept_shown_followed_and_comes_back(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, clip = "streamed,int8,blocks=1,chunk=8,text=streamed", str(tmp_path / "a.mp4")
    options = ["--plan", text, "--quantization", "int8", "--first-block-cache", "0.1", "--memory-limit", "8GB"]
    assert main([*folders, "generate", "--model", MODEL, *QUICK, *options, "--output", clip]) == 0
    capsys.readouterr()
    assert main(["show", clip]) == 0
    facts = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    shown = {name: value.strip() for name, value in facts.items()}
    assert (shown["weights"], shown["memory plan"]) == ("int8", text)
    assert shown["step cache"].startswith("First block, 0.71; ") and "passes saved" in shown["step cache"]
    assert main([*folders, "verify", clip, "--memory-limit", "8GB"]) == 0
    assert capsys.readouterr().out.startswith("Identical: ")
    with Studio(Settings(workspace=tmp_path / "workspace", models=tmp_path / "models")) as studio:
        recovered = studio.drafts.of_clip(Path(clip))
        assert (recovered.draft.quantization, recovered.draft.first_block_cache) == ("int8", 0.1)
        assert recovered.missing == () and studio.requests.resolve(recovered.draft) == recovered.request


@pytest.mark.soak
def test_show_does_not_let_a_receipt_write_to_the_terminal(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    receipt = read_receipt(clip)
    receipt["request"]["prompt"] = "red\x1b[2J ball\r\nend"
    note = clip.with_name("note.json")
    note.write_text(json.dumps(receipt), encoding="utf-8")
    assert main(["show", str(note)]) == 0
    assert "red?[2J ball end" in capsys.readouterr().out


@pytest.mark.soak
def test_verify_exits_0_only_when_identical(
    clip: Path, folders: list[str], tiny_demo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*folders, "verify", str(clip)]) == 0
    assert capsys.readouterr().out.startswith("Identical: ")
    assert main(["verify", *folders, str(clip), "--deterministic", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["identical"] and report["clip"] == str(clip) and report["differences"] == []
    _use_other_weights(folders)
    assert main([*folders, "verify", str(clip), "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["identical"] and report["psnr_db"] > 0
    assert "Model file 'vae/diffusion_pytorch_model.safetensors' is another file now." in report["differences"]
    assert main([*folders, "verify", str(clip), "--strict"]) == 2
    assert "cannot be verified in deterministic mode" in capsys.readouterr().err


def _use_other_weights(folders: list[str]) -> None:
    from tests.support import tiny

    model = Path(folders[1].partition("=")[2]) / MODEL
    model.unlink()
    tiny.write_demo(model, seed=1)


def test_a_file_without_a_receipt_is_a_user_error(tmp_path: Path, folders: list[str]) -> None:
    (tmp_path / "no.mp4").write_bytes(b"nothing")
    for command in (["show", str(tmp_path / "no.mp4")], [*folders, "verify", str(tmp_path / "gone.mp4")]):
        assert main(command) == 2


def test_stripped_clips_hold_no_receipt_and_can_be_verified(folders: list[str], tmp_path: Path) -> None:
    output = tmp_path / "b.mp4"
    options = ["--strip-metadata", "--strict", "--output", str(output)]
    assert main([*folders, "generate", "--model", MODEL, *QUICK, *options]) == 0
    assert read_receipt(output) is None
    assert b"red ball" not in output.read_bytes()
    assert json.loads(output.with_suffix(".json").read_text(encoding="utf-8"))["provenance"]["environment"]["strict"]
    assert main([*folders, "verify", str(output)]) == 0


def test_show_needs_neither_torch_nor_a_workspace(clip: Path, tmp_path: Path) -> None:
    code = "import sys; from wan_pipeline.cli import main; status = main(sys.argv[1:]);"
    code += "assert 'torch' not in sys.modules; sys.exit(status)"
    result = subprocess.run(
        [sys.executable, "-c", code, "--workspace", str(tmp_path / "none"), "show", str(clip)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert not (tmp_path / "none").exists()


@pytest.mark.soak
def test_7_how_the_picture_was_fitted_is_shown_verified_and_comes_back(
    folders: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.effect_noise((96, 160), 80).convert("RGB").save(tmp_path / "tall.png")
    made = ["generate", "--model", MODEL, *QUICK, "--image", str(tmp_path / "tall.png")]
    hashes = set()
    for number, options in enumerate((["--image-crop", "0"], ["--image-crop", "1"], ["--image-fit", "pad"])):
        clip = tmp_path / f"{number}.mp4"
        assert main([*folders, *made, *options, "--output", str(clip), "--json"]) == 0
        hashes.add(json.loads(capsys.readouterr().out)["frames_sha256"])
    assert len(hashes) == 3
    assert main(["show", str(clip)]) == 0
    assert "image fit" in (shown := capsys.readouterr().out) and "pad" in shown
    assert main([*folders, "verify", str(clip)]) == 0
    assert capsys.readouterr().out.startswith("Identical: ")
    with Studio(Settings(workspace=tmp_path / "workspace", models=tmp_path / "models")) as studio:
        assert studio.drafts.of_clip(clip).draft.image_fit == "pad"
    assert main([*folders, *made, "--image-fit", "stretch"]) == 2
    assert "Image fit 'stretch' is not known; use crop or pad." in capsys.readouterr().err
    assert main([*folders, *made, "--image-crop", "1.5"]) == 2
    assert "Image crop 1.5 is out of range; use a number from 0 to 1." in capsys.readouterr().err
