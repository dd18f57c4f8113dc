"""The benchmark for GPUs works where there is none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu():
    words = ["--device", "cpu", "--dtype", "float32", "--tiny", "--steps", "5", "--rows", "2", "--length", "64"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "train_gpu.py"), *words],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.findall(r"^  (sft|dpo)  [\d,]+ tokens/s  peak [\d,]+ MiB  \d+ tokens in 5 steps", done.stdout, re.MULTILINE) == ["sft", "dpo"]
