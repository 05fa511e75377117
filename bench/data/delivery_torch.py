"""Delivered tokens per second on one core, PyTorch's side of bench/data/run: a torch DataLoader over
the `tokenizers` library, doing what build/data_delivery does and speaking its protocol.

Documents are packed by best fit over a window of 4096 pieces, the same rule as Bessemer's; a row has
tokens, targets, positions and the visible interval of each token. There are no worker processes:
everything runs on the one core that is measured, and nothing is lost to copies between processes.
"""

import argparse
import bisect
import collections
import json
import sys
import time

import numpy
import tokenizers
import torch

WINDOW = 4096


def documents(paths):
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                text = json.loads(line)["text"]
                if text:
                    yield text


def encoded(paths, tokenizer, end, batch=256):
    """int32 arrays of token ids, each with the end-of-text token."""
    waiting = []
    for text in documents(paths):
        waiting.append(text)
        if len(waiting) == batch:
            yield from encode_batch(waiting, tokenizer, end)
            waiting = []
    yield from encode_batch(waiting, tokenizer, end)


def encode_batch(texts, tokenizer, end):
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        yield numpy.array(encoding.ids + [end], dtype=numpy.int32)


def packed(lengths, length):
    """Rows of (document, begin, count), best fit; `lengths` yields the documents' lengths."""
    pieces = ((d, begin, min(length, n - 1 - begin))
              for d, n in enumerate(lengths) for begin in range(0, n - 1, length))
    by_length, oldest, taken, held = [], collections.deque(), set(), {}
    arrivals = 0
    exhausted = False
    while True:
        while len(by_length) < WINDOW and not exhausted:
            piece = next(pieces, None)
            if piece is None:
                exhausted = True
                break
            bisect.insort(by_length, (piece[2], -arrivals))
            oldest.append((arrivals, piece))
            held[arrivals] = piece
            arrivals += 1
        if not by_length:
            return
        while oldest[0][0] in taken:
            taken.discard(oldest.popleft()[0])
        arrival, piece = oldest.popleft()
        del by_length[bisect.bisect_left(by_length, (piece[2], -arrival))]
        del held[arrival]
        row, left = [piece], length - piece[2]
        while left > 0:
            at = bisect.bisect_right(by_length, (left, 1)) - 1
            if at < 0:
                break
            arrival = -by_length.pop(at)[1]
            taken.add(arrival)
            piece = held.pop(arrival)
            row.append(piece)
            left -= piece[2]
        yield row



def filled(row, tokens_of, length, end):
    """The four arrays of a row; tokens_of(document, begin, count) gives at most `count` tokens."""
    tokens = numpy.full(length, end, dtype=numpy.int32)
    targets = numpy.full(length, -1, dtype=numpy.int32)
    positions = numpy.empty(length, dtype=numpy.int32)
    visibility = numpy.empty((length, 2), dtype=numpy.int32)
    at = 0
    for document, begin, count in row:
        ids = tokens_of(document, begin, count + 1)
        tokens[at:at + count] = ids[:count]
        targets[at:at + len(ids) - 1] = ids[1:]
        positions[at:at + count] = numpy.arange(count, dtype=numpy.int32)
        visibility[at:at + count] = (at, at + count)
        at += count
    positions[at:] = numpy.arange(length - at, dtype=numpy.int32)
    visibility[at:] = (at, length)
    return tuple(map(torch.from_numpy, (tokens, targets, positions, visibility)))


class Built(torch.utils.data.Dataset):
    """Rows from one array of all tokens, packed before the clock starts."""

    def __init__(self, arguments, tokenizer, end):
        lengths, parts = [], []
        for ids in encoded(arguments.text[:1], tokenizer, end):
            lengths.append(len(ids))
            parts.append(ids.astype(numpy.uint16))
        self.path = arguments.scratch
        numpy.concatenate(parts).tofile(self.path)
        self.tokens = numpy.memmap(self.path, dtype=numpy.uint16, mode="r")
        self.offsets = numpy.concatenate([[0], numpy.cumsum(lengths)])
        self.rows = list(packed(lengths, arguments.length))
        self.length, self.end = arguments.length, end

    def __len__(self):
        return len(self.rows)

    def _tokens(self, document, begin, count):
        first = self.offsets[document] + begin
        last = min(first + count, self.offsets[document + 1])
        return self.tokens[first:last].astype(numpy.int32)

    def __getitem__(self, index):
        return filled(self.rows[index], self._tokens, self.length, self.end)


class Raw(torch.utils.data.IterableDataset):
    """Rows from text, tokenized and packed as they are asked for."""

    def __init__(self, arguments, tokenizer, end):
        self.arguments, self.tokenizer, self.end = arguments, tokenizer, end

    def __iter__(self):
        waiting = {}

        def lengths():
            for d, ids in enumerate(encoded(self.arguments.text, self.tokenizer, self.end)):
                waiting[d] = [ids, -(-(len(ids) - 1) // self.arguments.length)]
                yield len(ids)

        def tokens_of(document, begin, count):
            entry = waiting[document]
            entry[1] -= 1  # pieces that are still to come
            if entry[1] == 0:
                del waiting[document]
            return entry[0][begin:begin + count]

        for row in packed(lengths(), self.arguments.length):
            yield filled(row, tokens_of, self.arguments.length, self.end)


def turn_built(loader, state, seconds):
    start, tokens = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        try:
            tokens += next(state["batches"])[0].numel()
        except (KeyError, StopIteration):
            state["batches"] = iter(loader)
    return tokens, time.perf_counter() - start


def turn_raw(loader):
    start = time.perf_counter()
    tokens = sum(batch[0].numel() for batch in loader)
    return tokens, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--way", choices=("built", "raw"), default="built")
    parser.add_argument("--text", nargs="+", required=True)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--scratch", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(arguments.tokenizer)
    end = tokenizer.token_to_id("<|endoftext|>")
    dataset = (Built if arguments.way == "built" else Raw)(arguments, tokenizer, end)
    loader = torch.utils.data.DataLoader(dataset, batch_size=arguments.batch,
                                         shuffle=arguments.way == "built", num_workers=0)
    print(json.dumps({"way": f"torch {arguments.way}"}), flush=True)
    state = {}
    for _ in sys.stdin:
        tokens, seconds = (turn_built(loader, state, arguments.seconds)
                           if arguments.way == "built" else turn_raw(loader))
        print(json.dumps({"tokens": tokens, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
