"""Delivered tokens per second and core: Bessemer beside a PyTorch DataLoader over `tokenizers`.

    bench/data/run --text FILE.jsonl ... --tokenizer tokenizer.json [--turns N]

Each side is a process on a core of its own kind (one thread); they take turns within one run, and
medians are reported, as Markdown.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


class Side:
    def __init__(self, command):
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1,
                                        env=environment)
        self.way = self._read()["way"]
        self.rates = []

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended early (exit {self.process.wait()})")
        return json.loads(line)

    def turn(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        answer = self._read()
        self.rates.append(answer["tokens"] / answer["seconds"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(way, arguments, scratch):
    common = ["--way", way, "--text", *arguments.text, "--tokenizer", arguments.tokenizer,
              "--length", arguments.length, "--batch", arguments.batch,
              "--seconds", arguments.seconds]
    sides = [Side([ROOT / "build" / "data_delivery", *common]),
             Side([sys.executable, HERE / "delivery_torch.py", *common, "--scratch", scratch])]
    for turn in range(arguments.turns + 1):  # the first warms up
        for side in sides:
            side.turn()
    rates = [statistics.median(side.rates[1:]) for side in sides]
    for side in sides:
        side.close()
    print(f"| {way} | {rates[0] / 1e6:.2f} | {rates[1] / 1e6:.3f} | {rates[0] / rates[1]:.1f}x |",
          flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--way", nargs="+", choices=("built", "raw"), default=["built", "raw"])
    arguments = parser.parse_args()
    print("| from | Bessemer, Mtok/s | PyTorch, Mtok/s | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for way in arguments.way:
            compare(way, arguments, pathlib.Path(scratch) / "tokens")


if __name__ == "__main__":
    main()
