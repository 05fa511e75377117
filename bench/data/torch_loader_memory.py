"""The PyTorch side of bench/data/loader_memory: the same token files and the same rows, the usual
way. Each rank is a process with a DataLoader of its own; each of its worker processes holds every
source.

    build/loader_memory --directory DIR               makes the files
    python bench/data/torch_loader_memory.py DIR [--sources 16] [--ranks 8] [--length 1024]
                                             [--batch 4] [--steps 20] [--workers 2]

A source is Megatron's .bin (mapped) and its index; documents are put end to end in rows of tokens,
targets, positions and visibility, whose order is shuffled. Prints one JSON object: bytes (PSS over
all processes) when every rank has imported torch, and after `steps` steps of all ranks.
"""

import argparse
import json
import os
import pathlib
import struct
import subprocess
import sys

END_OF_TEXT = 0


def read_index(path):
    import numpy as np
    with open(path, "rb") as file:
        head = file.read(34)
    code, sequences, documents = struct.unpack_from("<BQQ", head, 17)
    lengths = np.memmap(path, np.int32, "r", 34, sequences)
    dtype = {4: np.int32, 8: np.uint16}[code]
    return lengths, dtype


def make_dataset(prefix, length, seed):
    import numpy as np
    import torch

    class Source(torch.utils.data.Dataset):
        """Rows of one source: windows over its documents end to end, an end of text behind each."""

        def __init__(self):
            lengths, dtype = read_index(f"{prefix}.idx")
            self.tokens = np.memmap(f"{prefix}.bin", dtype, "r")
            lengths = np.asarray(lengths, np.int64)
            self.begins = np.concatenate([[0], np.cumsum(lengths)])       # in the file
            self.offsets = np.concatenate([[0], np.cumsum(lengths + 1)])  # with the ends of text
            self.order = np.random.default_rng(seed).permutation(self.offsets[-1] // length)

        def __len__(self):
            return len(self.order)

        def __getitem__(self, index):
            at = int(self.order[index]) * length
            tokens = np.empty(length, np.int32)
            targets = np.empty(length, np.int32)
            positions = np.empty(length, np.int32)
            visibility = np.empty((length, 2), np.int32)
            filled = 0
            document = int(np.searchsorted(self.offsets, at, "right")) - 1
            while filled < length:
                skip = at + filled - int(self.offsets[document])
                stored = self.tokens[self.begins[document] + skip:self.begins[document + 1]]
                text = np.append(stored.astype(np.int32), END_OF_TEXT)
                count = min(len(text), length - filled)
                end = filled + count
                tokens[filled:end] = text[:count]
                targets[filled:end - 1] = text[1:count]
                targets[end - 1] = text[count] if count < len(text) else -1
                positions[filled:end] = np.arange(count)
                visibility[filled:end] = (filled, end)
                filled = end
                document += 1
            return tuple(torch.from_numpy(a) for a in (tokens, targets, positions, visibility))

    return Source()


def rank_main(o, rank):
    import torch
    print("ready", flush=True)
    sys.stdin.readline()
    sources = [make_dataset(pathlib.Path(o.directory) / f"source_{s}", o.length, s)
               for s in range(o.sources)]
    mixture = torch.utils.data.ConcatDataset(sources)
    sampler = torch.utils.data.DistributedSampler(mixture, num_replicas=o.ranks, rank=rank)
    loader = torch.utils.data.DataLoader(mixture, batch_size=o.batch, sampler=sampler,
                                         num_workers=o.workers)
    tokens = 0
    batches = iter(loader)
    for _ in range(o.steps):
        tokens += int((next(batches)[1] >= 0).sum())
    print(tokens, flush=True)
    sys.stdin.readline()


def family(pid):
    children = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        children += (task / "children").read_text().split()
    return [pid] + [p for child in children for p in family(int(child))]


def pss_bytes(pids):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += 1024 * int(line.split()[1])
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    for name, default in [("sources", 16), ("ranks", 8), ("length", 1024), ("batch", 4),
                          ("steps", 20), ("workers", 2), ("rank", -1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    o = parser.parse_args()
    if o.rank >= 0:
        return rank_main(o, o.rank)
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    ranks = [subprocess.Popen([sys.executable, *sys.argv, "--rank", str(r)], text=True, bufsize=1,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
             for r in range(o.ranks)]
    for rank in ranks:
        rank.stdout.readline()
    before = pss_bytes([rank.pid for rank in ranks])
    for rank in ranks:
        rank.stdin.write("go\n")
    tokens = sum(int(rank.stdout.readline()) for rank in ranks)
    processes = [p for rank in ranks for p in family(rank.pid)]
    after = pss_bytes(processes)
    for rank in ranks:
        rank.stdin.write("done\n")
        rank.wait()
    print(json.dumps({"design": f"torch, {o.workers} workers a rank", "processes": len(processes),
                      "tokens": tokens, "bytes_before": before, "bytes_after": after}))


if __name__ == "__main__":
    main()
