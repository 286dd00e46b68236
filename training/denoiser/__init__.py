"""The last stage: the denoiser, on a pool of latents."""
