"""SeedVR2: clips restored at a larger size by one step of a diffusion transformer over video.

Wang et al., "SeedVR2: One-Step Video Restoration via Diffusion Adversarial Post-Training", 2025; after the authors'
code (https://github.com/ByteDance-Seed/SeedVR, Apache-2.0). Its transformers and its VAE, from a person's files.
"""
