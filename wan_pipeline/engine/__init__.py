"""Renders a request into frames: text encoding, denoising, decoding, preview, and the memory they use."""

import os

# GNU OpenMP's waiting threads spin for a long time. Beside another busy process, such as the browser that shows the
# page, a pass of the demo's transformer on two cores then takes 0.8 to 3 s. With a short spin it takes 0.3 s, and on an
# idle machine 0.11 s instead of 0.10. OpenMP reads the variable when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
