"""A process that trains on demand: build/train_step or torch_step.py (their protocol: a number on
standard input asks for so many steps, one JSON object a line answers)."""

import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


TORCH = {"eager": [], "compile": ["--compile"], "checkpoint": ["--checkpoint"]}

# What each side is asked for: Bessemer its recipe and more of [precision]; PyTorch, which has no fp8 of
# its own, bf16.
RECIPES = {
    "fp32": ("fp32", [], "fp32"),
    "tf32": ("tf32", [], "tf32"),
    "bf16": ("bf16", [], "bf16"),
    "fp8": ("fp8", ["precision.fp8_scaling=current"], "bf16"),
    "fp8-delayed": ("fp8", ["precision.fp8_scaling=delayed"], "bf16"),
    "fp8-block": ("fp8", ["precision.fp8_scaling=block"], "bf16"),
}


def command(way, recipe, inputs, threads, settings, device):
    ours, precision, theirs = RECIPES[recipe]
    common = ["--model", inputs / "model", "--batches", inputs / "batches.safetensors",
              "--threads", threads]
    if way == "bessemer":
        program = os.environ.get("TRAIN_STEP", str(ROOT / "build" / "train_step")).split()
        device = [] if device == "cpu" else [f"run.device={device}"]
        return [*program, *common, "--recipe", ours,
                *(f"--set={s}" for s in [*settings, *precision, *device])]
    return [sys.executable, HERE / "torch_step.py", *common, "--recipe", theirs, *TORCH[way],
            "--device", device]


class Worker:
    """`way` is bessemer or one of TORCH; `settings` are keys of a run file for bessemer, whose program
    is build/train_step or the command in TRAIN_STEP. The process starts at once; use it in a `with`."""

    def __init__(self, way, recipe, inputs, threads, environment=None, settings=(), device="cpu"):
        self.way, self.recipe, self.steps = way, recipe, []
        arguments = [str(part) for part in command(way, recipe, inputs, threads, settings, device)]
        self.process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, **(environment or {})})
        self.about = self._read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.way} {self.recipe} ended early (exit {self.process.wait()})")
        return json.loads(line)

    def run(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.steps += [self._read() for _ in range(steps)]

    def column(self, name):
        return [step[name] for step in self.steps]
