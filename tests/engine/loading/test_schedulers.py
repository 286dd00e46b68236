"""Every solver is a flow solver, with the shift that was asked for, and integrates the same path."""

from __future__ import annotations

import pytest
import torch

from wan_pipeline.engine.loading.schedulers import make_scheduler
from wan_pipeline.requests.sampling.scheduler import SchedulerName

CONFIG = {
    "_class_name": "UniPCMultistepScheduler",
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
    "flow_shift": 5.0,
    "solver_order": 2,
}


@pytest.mark.parametrize("name", list(SchedulerName))
def test_sigmas_follow_the_shift_and_end_at_zero(name):
    for shift in (1.0, 3.0, 12.0):
        scheduler = make_scheduler(name, CONFIG, shift)
        scheduler.set_timesteps(8)
        sigmas = scheduler.sigmas.double()
        assert len(sigmas) == 9 and sigmas[-1] == 0
        assert bool((sigmas.diff() < 0).all())
        assert sigmas[0] == pytest.approx(1.0, abs=2e-3)
        # sigma = shift * u / (1 + (shift - 1) * u) for u about half way down
        half = 0.5 * shift / (1 + (shift - 1) * 0.5)
        assert float(sigmas[3]) >= half >= float(sigmas[5])


@pytest.mark.parametrize("name", list(SchedulerName))
def test_solves_an_ode_whose_answer_is_known(name):
    """All data at one point: the velocity is (x - point) / sigma, and every solver must arrive there."""
    point = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1, 1)
    scheduler = make_scheduler(name, CONFIG, 3.0)
    scheduler.set_timesteps(6)
    x = torch.randn(1, 2, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    for step, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step((x - point) / scheduler.sigmas[step], timestep, x, return_dict=False)[0]
    assert torch.allclose(x, point, atol=1e-4)


def test_a_model_made_for_another_solver_still_gets_a_flow_solver():
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 5.0}
    for name in (SchedulerName.UNIPC, SchedulerName.DPMPP):
        scheduler = make_scheduler(name, config, 3.0)
        assert scheduler.config.prediction_type == "flow_prediction" and scheduler.config.use_flow_sigmas
        assert scheduler.config.flow_shift == 3.0
