"""Recognise what a clip of the demo world shows, from its pixels alone.

Two small nets, trained on rendered scenes, segment and classify the object; colour, motion and place are measured by
rules.
"""

from training.judge.judge import Judge, Verdict

__all__ = ["Judge", "Verdict"]
