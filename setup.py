"""What pyproject.toml cannot say: a wheel holds the presets inside the package, beside which they are in a checkout."""

from setuptools import find_packages, setup

PRESETS = {"wan_pipeline.presets": "presets", "wan_pipeline.presets.speeds": "presets/speeds"}

setup(packages=[*find_packages(include=["wan_pipeline", "wan_pipeline.*"]), *PRESETS], package_dir=PRESETS)
