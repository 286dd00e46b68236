"""Which layers multiply in 16 bits where the others do in int8: those that err too much, by what was measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.planning.clips import SMALL
from tests.support.requests import make_request
from wan_pipeline.lora.library import LoraLibrary
from wan_pipeline.models import registry
from wan_pipeline.planning.int8_errors import BOUND, layers_beyond, load_errors, save_errors
from wan_pipeline.planning.machine import REFERENCE
from wan_pipeline.planning.memory_plan import LAYERS, MemoryPlan, read_plan
from wan_pipeline.planning.planner import Planner
from wan_pipeline.planning.transformer import activation_bytes, pass_seconds
from wan_pipeline.settings import Settings

SPEC = registry.find("wan2.1-t2v-1.3b")
ERRORS = {"ffn.net.2": BOUND + 0.01, "attn2.to_q": 2 * BOUND, "attn1.to_q": BOUND, "proj_out": 1.0}
FOUND = ("attn2.to_q", "ffn.net.2")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return Settings(workspace=tmp_path)


def plan_of(settings: Settings, text: str = "", exact: tuple[str, ...] | None = None, **changes: object) -> MemoryPlan:
    own = {"model": SPEC.id, "quantization": "int8-compute", **changes}
    planner = Planner(settings, LoraLibrary(settings.loras))
    return planner.choose(make_request(**own), SPEC, REFERENCE, text, exact=exact).plan


def test_the_plan_names_the_layers_beyond_the_bound_once_they_were_measured(here: Settings) -> None:
    assert plan_of(here).exact == ()
    save_errors(here.cache, "another model", "weights", ERRORS)
    assert plan_of(here).exact == ()
    save_errors(here.cache, SPEC.id, "weights", ERRORS)
    assert plan_of(here).exact == plan_of(here, "streamed").exact == FOUND == layers_beyond(ERRORS)
    assert plan_of(here, quantization="int8").exact == plan_of(here, "resident,int8-compute").exact == ()
    assert plan_of(here, exact=()).exact == () and plan_of(here, exact=("attn1.to_k",)).exact == ("attn1.to_k",)


def test_a_smaller_plan_keeps_its_layers(here: Settings) -> None:
    request, failed = make_request(model=SPEC.id, width=832, height=480, num_frames=81), "resident,int8-compute"
    planner = Planner(here, LoraLibrary(here.loras))
    smaller = planner.smaller(request, SPEC, REFERENCE, read_plan(f"{failed},exact=attn2.to_q"))
    assert smaller is not None and smaller.exact == ("attn2.to_q",)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"fingerprint": "weights", "versions": "torch 1.0", "layers": {"ffn.net.2": 0.5}}']
)
def test_what_is_damaged_or_of_other_versions_is_measured_again(tmp_path: Path, text: str) -> None:
    save_errors(tmp_path, "model", "weights", ERRORS)
    assert load_errors(tmp_path, "model", "weights") == load_errors(tmp_path, "model") == ERRORS
    assert load_errors(tmp_path, "model", "other weights") is None
    next((tmp_path / "int8_errors").iterdir()).write_text(text, encoding="utf-8")
    assert load_errors(tmp_path, "model", "weights") is None


def test_forecasts_count_products_in_16_bits() -> None:
    spec = registry.find("wan2.1-t2v-14b")
    machine = replace(REFERENCE, int8_speed=2 * REFERENCE.matmul_speed)
    none, one, every = (
        MemoryPlan(precision=read_plan("resident,int8-compute").precision, exact=names)
        for names in ((), ("attn2.to_q",), tuple(name for name in LAYERS if "add" not in name))
    )
    seconds = [pass_seconds(spec, SMALL, machine, plan) for plan in (none, one, every)]
    assert seconds[0] < seconds[1] < 1.03 * seconds[0]
    assert seconds[2] == pytest.approx(pass_seconds(spec, SMALL, machine, MemoryPlan()))
    tokens = SMALL.tokens(spec)
    assert activation_bytes(spec.memory, tokens, one) > activation_bytes(spec.memory, tokens, none)
