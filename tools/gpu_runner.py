"""What the scripts for a machine with a GPU share: the unpacked bundle, its programs run one by one
within a time, a line for each as it goes and a table of all last."""

import argparse
import contextlib
import glob
import json
import os
import pathlib
import re
import site
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIBRARIES = ("libcublasLt.so.*", "libcudnn.so.*", "libnccl.so.*", "libnvrtc.so.*")


class Check:
    """One run of one program: what it printed, and how it ended."""

    def __init__(self, name, status, seconds, note, output=""):
        self.name, self.status, self.seconds, self.note = name, status, seconds, note
        self.output = output


class Runner:
    """What is left of the time, and where the bundle lies."""

    def __init__(self, folder, seconds):
        self.folder = folder
        self.end = time.monotonic() + seconds
        self.checks = []
        self.environment = dict(os.environ)
        found = os.pathsep.join(library_folders())
        before = self.environment.get("LD_LIBRARY_PATH")
        self.environment["LD_LIBRARY_PATH"] = found + (os.pathsep + before if before else "")

    def seconds_left(self):
        return self.end - time.monotonic()

    def add(self, check):
        self.checks.append(check)
        print(f"[{check.seconds:6.1f} s] {check.status:<8} {check.name}: {check.note}", flush=True)
        return check

    def run(self, name, command, limit, note=lambda output: "", before=(), least=5):
        """`command` is a program of the bundle and its arguments, behind what stands `before` it; left
        out where fewer than `least` seconds are left."""
        return self._run(name, [*before, str(self.folder / "start"), *command], limit, least,
                         lambda output: (note(output), True))

    def compare(self, case, recipe, steps, judge, limit, profile=0):
        """One comparison of bench/peers with PyTorch. `judge` makes of its results (compare.py) and of
        all that it printed a note and whether that is good."""
        out = self.folder / "peers"
        command = [sys.executable, str(ROOT / "bench" / "peers" / "compare.py"), "--device", "cuda",
                   "--case", case, "--recipe", recipe, "--steps", str(steps), "--out", str(out)]
        train_step = f"{self.folder / 'start'} train_step" + f" --profile {profile}" * (profile > 0)

        def judge_results(output):
            return judge(json.loads((out / "results.json").read_text())["comparisons"][0], output)

        return self._run(f"training beside PyTorch: {case} {recipe}", command, limit, 30,
                         judge_results, {"TRAIN_STEP": train_step})

    def _run(self, name, command, limit, least, judge, environment=None):
        limit = min(limit, self.seconds_left())
        if limit < least:
            return self.add(Check(name, "left out", 0, "no time left"))
        began = time.monotonic()
        try:
            done = subprocess.run(command, cwd=self.folder, timeout=limit, text=True,
                                  env={**self.environment, **(environment or {})},
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")
            output, good = done.stdout, done.returncode == 0
            said, good = judge(output) if good else (last_words(output, done.returncode), False)
        except subprocess.TimeoutExpired as stopped:
            output, good = as_text(stopped.stdout), False
            said = f"stopped after {limit:.0f} s; {last_words(output, None)}"
        except OSError as error:
            output, said, good = "", str(error), False
        return self.add(Check(name, "passed" if good else "FAILED", time.monotonic() - began, said,
                              output))

    def doctor(self, *options):
        """Ends the program where there is no device: well where doctor ran and says so."""
        doctor = self.run("doctor", ["bessemer", "doctor", *options], 60, gpu_line)
        print(doctor.output, flush=True)
        if "cuda:0" not in doctor.output:
            sys.exit(0 if doctor.status == "passed" and "GPU" in doctor.output else
                     "the program does not run here")

    def end_with_table(self):
        width = max(len(check.name) for check in self.checks)
        print(f"\n{'check':<{width}}  {'result':<8}  {'seconds':>7}")
        for check in self.checks:
            print(f"{check.name:<{width}}  {check.status:<8}  {check.seconds:7.1f}  {check.note}")
        sys.exit(1 if any(check.status == "FAILED" for check in self.checks) else 0)


def as_text(output):
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""


def last_words(output, code):
    """What a failed program says of it: the first failure of a test, else its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    failures = [line for line in lines if re.search(r"Failure|FAILED|[Ee]rror", line)]
    words = (failures or lines or ["it said nothing"])[0 if failures else -1]
    return f"exit {code}; {words[:160]}" if code is not None else words[:160]


def gpu_line(output):
    lines = [line for line in output.splitlines() if line.startswith("GPU")]
    return re.sub(r"\s+", " ", lines[0]) if lines else "doctor shows no line of GPUs"


def library_folders():
    """Where a toolkit or PyTorch's wheels keep the CUDA libraries, if the loader does not know."""
    places = ["/usr/local/cuda/lib64", "/usr/local/nvidia/lib64"]
    for packages in {*site.getsitepackages(), site.getusersitepackages(), *sys.path}:
        places += glob.glob(os.path.join(packages, "nvidia", "*", "lib"))
    return [place for place in dict.fromkeys(places)
            if any(glob.glob(os.path.join(place, name)) for name in (*LIBRARIES, "libcuda.so.1"))]


@contextlib.contextmanager
def unpacked(name, description, add_arguments=lambda parser: None):
    """A Runner over the unpacked bundle, and the command line's arguments."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=pathlib.Path,
                        default=ROOT / "gpu-bundle" / "bundle.tar.gz", help="what gpu_bundle made")
    parser.add_argument("--seconds", type=float, default=570, help="to end within (570)")
    add_arguments(parser)
    arguments = parser.parse_args()
    if not arguments.bundle.exists():
        sys.exit(f"{name}: there is no {arguments.bundle}; make it with tools/gpu_bundle where nvcc "
                 "is, and bring it here")
    with tempfile.TemporaryDirectory(prefix=name) as folder:
        with tarfile.open(arguments.bundle) as packed:
            packed.extractall(folder)
        runner = Runner(pathlib.Path(folder), arguments.seconds)
        version = (runner.folder / "version").read_text().strip()
        print(f"{name}: Bessemer {version}, at most {arguments.seconds:.0f} s", flush=True)
        yield runner, arguments
