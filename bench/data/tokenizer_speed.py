#!/usr/bin/env python3
"""Bessemer's tokenizers beside Hugging Face's: encoding, and training of a vocabulary.

    bench/data/tokenizer_speed.py encode --tokenizer tokenizer.json --threads 1 FILES.jsonl
    bench/data/tokenizer_speed.py train --vocabulary 32768 FILES.txt

Both sides do the same work on the same documents, in turns within one run; a figure is a median over
the turns. `encode` also compares the ids' number. Processor seconds (all threads together) stand
beside the clock's: on a machine with other work they are the figure to take.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def documents(paths):
    texts = []
    for path in paths:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        is_lines = str(path).endswith(".jsonl")
        texts += [json.loads(line)["text"] for line in text.splitlines()] if is_lines else [text]
    return texts


class Ours:
    def __init__(self, tokenizer, threads, files):
        self.process = subprocess.Popen(
            [ROOT / "build" / "tokenize_speed", "--tokenizer", tokenizer, "--threads", str(threads),
             *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def turn(self):
        self.process.stdin.write("1\n")
        return json.loads(self.process.stdout.readline())


class Theirs:
    def __init__(self, tokenizer, threads, files):
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        import tokenizers
        self.tokenizer = tokenizers.Tokenizer.from_file(tokenizer)
        self.texts = documents(files)
        self.bytes = sum(len(text.encode()) for text in self.texts)

    def turn(self):
        start, processor = time.perf_counter(), time.process_time()
        encodings = self.tokenizer.encode_batch_fast(self.texts, add_special_tokens=False)
        seconds, used = time.perf_counter() - start, time.process_time() - processor
        return {"seconds": seconds, "processor_seconds": used, "bytes": self.bytes,
                "tokens": sum(len(e.ids) for e in encodings)}


def table(rows, megabytes):
    print("| | seconds | MB/s | processor seconds | MB/s a processor second |")
    print("|---|---|---|---|---|")
    medians = {}
    for name, turns in rows.items():
        seconds = statistics.median(t["seconds"] for t in turns)
        used = statistics.median(t["processor_seconds"] for t in turns)
        medians[name] = (seconds, used)
        print(f"| {name} | {seconds:.3f} | {megabytes / seconds:.1f} | {used:.3f} | "
              f"{megabytes / used:.1f} |")
    (ours, ours_used), (theirs, theirs_used) = medians.values()
    print(f"\nratio: {theirs / ours:.2f} by the clock, {theirs_used / ours_used:.2f} in processor "
          "seconds")


def encode(arguments):
    ours = Ours(arguments.tokenizer, arguments.threads, arguments.files)
    theirs = Theirs(arguments.tokenizer, arguments.threads, arguments.files)
    rows = {"Bessemer": [], "tokenizers": []}
    for _ in range(arguments.turns + 1):
        rows["Bessemer"].append(ours.turn())
        rows["tokenizers"].append(theirs.turn())
    ours.process.stdin.close()
    ours.process.wait()
    rows = {name: turns[1:] for name, turns in rows.items()}  # the first warms up
    first, second = (turns[0] for turns in rows.values())
    if (first["bytes"], first["tokens"]) != (second["bytes"], second["tokens"]):
        sys.exit(f"not the same work: {first} and {second}")
    print(f"{first['bytes'] / 1e6:.1f} MB, {first['tokens']} tokens, {arguments.threads} threads\n")
    table(rows, first["bytes"] / 1e6)


THEIR_TRAINING = """
import sys
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
out, vocabulary, *files = sys.argv[1:]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
tokenizer.train(files, trainers.BpeTrainer(
    vocab_size=int(vocabulary), min_frequency=2, special_tokens=["<|endoftext|>"],
    initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
tokenizer.save(out)
"""


def timed(command):
    """The whole process, its start and the reading of the files included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "processor_seconds": used}


def train(arguments):
    size = sum(pathlib.Path(path).stat().st_size for path in arguments.files)
    os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if arguments.threads > 1 else "false"
    rows = {"Bessemer": [], "tokenizers": []}
    with tempfile.TemporaryDirectory() as work:
        vocabulary = str(arguments.vocabulary)
        for _ in range(arguments.turns):
            rows["Bessemer"].append(timed(
                [ROOT / "build" / "bessemer", "tokenizer", "train", "--vocabulary", vocabulary,
                 "--out", f"{work}/ours.json", *arguments.files]))
            rows["tokenizers"].append(timed(
                [sys.executable, "-c", THEIR_TRAINING, f"{work}/theirs.json", vocabulary,
                 *arguments.files]))
    print(f"{size / 1e6:.1f} MB, {vocabulary} tokens, {arguments.threads} threads\n")
    table(rows, size / 1e6)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for name, action, turns in (("encode", encode, 7), ("train", train, 3)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("files", nargs="+", metavar="FILES")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--turns", type=int, default=turns)
        if name == "encode":
            command.add_argument("--tokenizer", required=True)
        else:
            command.add_argument("--vocabulary", type=int, default=32768)
    arguments = parser.parse_args()
    arguments.action(arguments)


if __name__ == "__main__":
    main()
