"""Run the cases: `python -m benchmarks.gpu`."""

from __future__ import annotations

from benchmarks.gpu.cases import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
