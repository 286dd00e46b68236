"""Flow-matching solvers, made from a model's own scheduler configuration."""

from __future__ import annotations

from typing import Any

from diffusers import DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from wan_pipeline.requests.sampling.scheduler import SchedulerName

FLOW = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
"""Without these a multistep solver is not a flow solver, and its output is noise."""


def make_scheduler(name: SchedulerName, config: dict[str, Any], flow_shift: float) -> Any:
    """A new scheduler; schedulers hold state, so every clip needs its own."""
    trained = {"num_train_timesteps": config.get("num_train_timesteps", 1000)}
    match name:
        case SchedulerName.UNIPC:
            return UniPCMultistepScheduler.from_config(config, flow_shift=flow_shift, **FLOW)
        case SchedulerName.EULER:
            return FlowMatchEulerDiscreteScheduler(shift=flow_shift, **trained)
        case SchedulerName.DPMPP:
            return DPMSolverMultistepScheduler(algorithm_type="dpmsolver++", flow_shift=flow_shift, **FLOW, **trained)
