"""Wan Studio: text and images into video with Alibaba's open Wan models, on one workstation."""

__version__ = "0.1.0"
