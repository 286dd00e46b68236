"""Says what a clip of the demo world shows, from its pixels alone. It knows neither prompt nor latents.

Two small nets, trained on drawn scenes, find the object and name it; colour, motion and place are measured by rules.
"""

from training.judge.judge import Judge, Verdict

__all__ = ["Judge", "Verdict"]
