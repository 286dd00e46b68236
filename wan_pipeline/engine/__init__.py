"""From a request to frames: text encoding, sampling, decoding, preview. Its module `progress` imports no torch."""

import os

# GNU OpenMP's waiting threads spin for long. Beside another busy process, such as the browser that shows the page, one
# pass of the demo's transformer on two cores then takes 0.8 to 3 s; with a short spin it takes 0.3 s, and 0.11 s
# instead of 0.10 on an idle machine. OpenMP reads this when torch is first imported.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
