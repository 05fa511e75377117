"""Trains the same models from the same weights on the same tokens in Bessemer and in PyTorch (eager
and torch.compile), taking turns within one run, and reports medians.

    bench/peers/run [--case NAME ...] [--recipe fp32 bf16 ...] [--steps N] [--threads N] [--device cuda]

Each contender of a comparison is one process that lives through it; they take turns of two steps,
so that what the machine does meanwhile happens to all. On an accelerator one runs after the other,
so that each has all of its memory. The first steps of each (compilation, first touch of memory) do
not count for the time and do count for the losses. Memory is the peak resident set of the process
(VmHWM), libraries included, and on an accelerator its own: the plan's arena, or what PyTorch's
allocator took. Recipe fp8 (scaling current), fp8-delayed and fp8-block stand beside PyTorch in bf16.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys

import make_inputs
import report
from worker import RECIPES, ROOT, Worker

WARM_UP = 2  # steps
TURN = 2     # steps


@dataclasses.dataclass(frozen=True)
class Case:
    model: str
    batch: int  # sequences a step
    length: int
    ways: tuple = ("bessemer", "eager", "compile")
    steps: int | None = None  # None: as asked
    settings: tuple = ()      # Bessemer's; none: one micro-batch, everything kept

    @property
    def timed(self):
        """Whether all take turns; otherwise one after the other, so that they need not fit together."""
        return "compile" in self.ways


CASES = {
    "gpt2-124m": Case("gpt2-124m", 4, 256),
    "llama-60m": Case("llama-60m", 8, 512),
    "gpt2-124m-memory": Case("gpt2-124m", 8, 1024, ("bessemer", "eager"), 2),
    "gpt2-124m-third": Case("gpt2-124m", 8, 1024, ("bessemer", "eager", "checkpoint"), 3,
                            ("train.micro_batch_size=1",)),
}

# For an accelerator: a step of 16 Ki tokens.
GPU_CASES = {
    f"{model}-{length}": Case(model, 16384 // length, length, ("bessemer", "compile"))
    for model in ("gpt2-124m", "llama-0.5b", "llama-1.5b", "gpt2-1.5b") for length in (1024, 4096)
    if (model, length) != ("gpt2-124m", 4096)  # its positions end at 1024
}
ALL_CASES = CASES | GPU_CASES


def inputs_for(name, work, steps):
    case = ALL_CASES[name]
    directory = work / name
    directory.mkdir(parents=True, exist_ok=True)
    make_inputs.make(make_inputs.MODELS[case.model](), directory, steps, case.batch, case.length)
    return directory


def take_turns(workers, steps):
    for done in range(0, steps, TURN):
        for worker in workers:
            worker.run(min(TURN, steps - done))


def result_of(worker, tokens):
    seconds = worker.column("seconds")
    counted = seconds[WARM_UP:] or seconds[-1:]
    return {
        "way": worker.way, "about": worker.about, "seconds": seconds,
        "median_seconds": statistics.median(counted),
        "tokens_per_second": tokens / statistics.median(counted),
        "losses": worker.column("loss"),
        "peak_resident_bytes": max(worker.column("peak_resident_bytes")),
        "peak_device_bytes": worker.about.get(
            "device_bytes", max(step.get("peak_device_bytes", 0) for step in worker.steps)),
    }


def compare(name, recipe, inputs, steps, threads, environment, device):
    case = ALL_CASES[name]
    start = lambda way: Worker(way, recipe, inputs, threads, environment, case.settings, device)
    if case.timed and device == "cpu":
        workers = [start(way) for way in case.ways]
        take_turns(workers, steps)
    else:
        workers = []
        for way in case.ways:
            with start(way) as worker:
                worker.run(steps)
            workers.append(worker)
    results = [result_of(worker, case.batch * case.length) for worker in workers]
    for worker in workers:
        worker.__exit__()
    return {"case": name, "recipe": recipe, "batch": case.batch, "length": case.length,
            "settings": case.settings, "results": results}


def machine(threads):
    info = pathlib.Path("/proc/cpuinfo").read_text()
    field = lambda name: next(
        (line.split(":", 1)[1].strip() for line in info.splitlines() if line.startswith(name)), "")
    flags = field("flags").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": field("model name") or platform.processor(), "cores": os.cpu_count(),
        "threads": threads, "memory_bytes": memory, "load_at_start": os.getloadavg()[0],
        "features": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in flags],
    }


def commit():
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, text=True,
                            capture_output=True, check=False)
    return answer.stdout.strip() or "unknown"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", nargs="+", choices=ALL_CASES, help="default: all of the device")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--recipe", nargs="+", choices=RECIPES, default=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build" / "peers")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    work = arguments.out
    work.mkdir(parents=True, exist_ok=True)
    cache = work / "cache"  # so that the peak is measured in this run
    shutil.rmtree(cache, ignore_errors=True)
    everything = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": "bench/peers/run " + " ".join(sys.argv[1:]), "commit": commit(),
        "machine": machine(arguments.threads), "comparisons": []}
    if everything["machine"]["load_at_start"] > 1:
        print("warning: the machine is busy; the times will not mean much", file=sys.stderr)
    for name in arguments.case or (CASES if arguments.device == "cpu" else GPU_CASES):
        steps = ALL_CASES[name].steps or arguments.steps
        inputs = inputs_for(name, work, steps)
        for recipe in arguments.recipe:
            print(f"{name} {recipe}: {steps} steps each", file=sys.stderr)
            everything["comparisons"].append(compare(name, recipe, inputs, steps, arguments.threads,
                                                     {"XDG_CACHE_HOME": str(cache)},
                                                     arguments.device))
            (work / "results.json").write_text(json.dumps(everything, indent=1))
    text = report.markdown(everything)
    (work / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
