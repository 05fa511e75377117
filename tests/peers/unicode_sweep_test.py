"""Every Unicode code point, in many surroundings, through Bessemer and the originals: `tokenizers`,
`tiktoken` and `sentencepiece`. The ids must be the same, whatever version of Unicode the tables of
each side have.

The byte-level vocabulary has a token for any two bytes that can stand on either side of the border
between two characters, and no other merges: so ids show exactly where a text was cut into words.
"""

import base64
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import support
import tokenizer_test
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

tiktoken = support.optional("tiktoken")
sentencepiece = support.optional("sentencepiece")

# Around each character but those that come in great numbers and are all alike (ideographs, syllables,
# private use, what is not assigned yet), which have one such text.
AROUND = ["a{c}b", " {c} ", "1{c}2", "{c}{c}", "e\u0301{c}\u0301", "!{c}?", "\n{c}\n", "'{c}'s", "A{c}A½{c}"]
AROUND_ALIKE = "a{c}1"
ROW = 32  # code points in a text

CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|"
          r"\s++$|\s*[\r\n]|\s+(?!\S)|\s")
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
            r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_alphabet():
    alphabet = {b: chr(b) for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or 174 <= b}
    others = [b for b in range(256) if b not in alphabet]
    return alphabet | {b: chr(256 + i) for i, b in enumerate(others)}


def borders():
    """Two bytes: the last of a character and the first of another, ASCII beside ASCII last."""
    lasts = [b for b in range(256) if b < 0xC0]
    firsts = [b for b in range(256) if b < 0x80 or 0xC2 <= b < 0xF5]
    pairs = [(a, b) for a in lasts for b in firsts]
    return sorted(pairs, key=lambda p: (p[0] < 0x80 and p[1] < 0x80, p[0] < 0x80))


def byte_level(normalizer=None, *steps, regex=False, added=()):
    alphabet = byte_alphabet()
    vocabulary = {alphabet[b]: b for b in range(256)}
    merges = [(alphabet[a], alphabet[b]) for a, b in borders()]
    vocabulary |= {a + b: 256 + i for i, (a, b) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*steps, last]) if steps else last
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.add_tokens(list(added))
    return tokenizer


def isolated(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def charsmap(rules):
    """The table of replacements that SentencePiece has for `rules`."""
    with tempfile.TemporaryDirectory() as work:
        corpus = pathlib.Path(work) / "corpus.txt"
        corpus.write_text(tokenizer_test.corpus(9), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=corpus, model_prefix=f"{work}/m", vocab_size=400, hard_vocab_limit=False,
            minloglevel=2, num_threads=1, normalization_rule_name=rules)
        normalizer = protobuf_field(pathlib.Path(f"{work}/m.model").read_bytes(), 3)
        return protobuf_field(normalizer, 2)


def protobuf_field(message, number):
    """The last field of this number, which holds bytes."""
    def varint(at):
        value, shift = 0, 0
        while True:
            value |= (message[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 0x80:
                return value, at

    at, found = 0, None
    while at < len(message):
        key, at = varint(at)
        kind = key & 7
        if kind == 0:
            _, at = varint(at)
        elif kind == 2:
            size, at = varint(at)
            found = message[at:at + size] if key >> 3 == number else found
            at += size
        else:
            at += {1: 8, 5: 4}[kind]
    return found


def tokenizers_kinds():
    split, p = pre_tokenizers.Split, pre_tokenizers
    kinds = {
        "gpt2": byte_level(regex=True),
        "llama3": byte_level(None, isolated(tokenizer_test.LLAMA3_PATTERN)),
        "qwen2": byte_level(normalizers.NFC(), isolated(QWEN)),
        "cl100k": byte_level(None, isolated(CL100K)),
        "o200k": byte_level(None, isolated(O200K)),
        "deepseek": byte_level(None, isolated(r"\p{N}{1,3}"), isolated("[一-龥\u3040-ゟ゠-ヿ]+"),
                               isolated(DEEPSEEK)),
        "words": byte_level(None, isolated(r"\w+|[^\w\s]+")),
        "borders of words": byte_level(None, isolated(r"\b\S+?\b|^.|\h\B[\S\n]$")),
        "classes": byte_level(None, isolated(r"[\p{Lu}\d]+|(?m:[^\S\r\n]+.)|\p{Lu}\p{Ll}|[]'!-]")),
        "digits": byte_level(None, p.Digits(True)),
        "digit runs": byte_level(None, p.Digits(False)),
        "punctuation": byte_level(None, p.Punctuation("contiguous")),
        "whitespace": byte_level(None, p.Whitespace()),
        "whitespace split": byte_level(None, p.WhitespaceSplit()),
        "strip": byte_level(normalizers.Strip()),
        "lowercase": byte_level(normalizers.Lowercase()),
        "accents": byte_level(normalizers.StripAccents()),
        "nmt": byte_level(normalizers.Nmt()),
        "replace": byte_level(normalizers.Replace(Regex(r"[\s\p{P}]{2,}"), "-")),
        "single word": byte_level(added=[AddedToken("aA", single_word=True, normalized=False),
                                         AddedToken("A", single_word=True, normalized=False)]),
        "stripping token": byte_level(added=[AddedToken("A", lstrip=True, rstrip=True)]),
    }
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        kinds[form] = byte_level(getattr(normalizers, form)())
    if sentencepiece is not None:
        for rules in ("nmt_nfkc", "nmt_nfkc_cf"):
            kinds[f"precompiled {rules}"] = byte_level(normalizers.Precompiled(charsmap(rules)))
    return kinds


TIKTOKEN = {
    "r50k_base": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    "cl100k_base": CL100K,
    "o200k_base": O200K,
    "llama3": tokenizer_test.LLAMA3_PATTERN,
    "qwen": QWEN,
}


def characters(*ranges):
    return [chr(c) for first, end in ranges for c in range(first, end)]


VARIED = characters((0, 0x3400), (0xA000, 0xAC00), (0xD7A4, 0xD800), (0xF900, 0x17000), (0x1A000, 0x20000),
                    (0xE0000, 0xE0200))
ALIKE = characters((0x3400, 0xA000), (0xAC00, 0xD7A4), (0xE000, 0xF900), (0x17000, 0x1A000),
                   (0x20000, 0xE0000), (0xE0200, 0x110000))


def rows_of(chars, pattern):
    return ["".join(pattern.format(c=c) for c in chars[i:i + ROW]) for i in range(0, len(chars), ROW)]


def random_rows(seed, count=2000):
    draw = random.Random(seed)
    pool = VARIED
    common = " \n'\u0301\u200d1aA" * 2
    return ["".join(draw.choice(common) if draw.random() < .3 else draw.choice(pool)
                    for _ in range(draw.randint(1, 40))) for _ in range(count)]


class Sweep(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def ours(self, path, rows):
        stdin = b"".join(struct.pack("<I", len(r)) + r for r in rows)
        answer = support.run("peer_tokens", "--ids", path, stdin=stdin)
        out, at = [], 0
        for _ in rows:
            n = int.from_bytes(answer[at:at + 4], "little")
            out.append(answer[at + 4:at + 4 + 4 * n])
            at += 4 + 4 * n
        self.assertEqual(at, len(answer))
        return out

    def differing(self, path, encode_batch, rows):
        """The rows whose ids differ."""
        answers = self.ours(path, [r if isinstance(r, bytes) else r.encode() for r in rows])
        theirs = encode_batch(rows)
        return [row for row, a, b in zip(rows, answers, theirs)
                if a != np.asarray(b, dtype=np.int32).tobytes()]

    def sweep(self, path, encode_batch):
        """What differs, as (surroundings, character); or a random text."""
        found = []
        work = [(VARIED, around) for around in AROUND] + [(ALIKE, AROUND_ALIKE)]
        for chars, around in work:
            rows = rows_of(chars, around)
            bad = set(self.differing(path, encode_batch, rows))
            suspects = [c for i, row in enumerate(rows) if row in bad for c in chars[i * ROW:(i + 1) * ROW]]
            texts = [around.format(c=c) for c in suspects]
            bad = set(self.differing(path, encode_batch, texts)) if texts else ()
            found += [(around, c) for c, text in zip(suspects, texts) if text in bad]
        found += [("{c}", c) for c in self.differing(path, encode_batch, VARIED)]
        found += [("random", t) for t in self.differing(path, encode_batch, random_rows(len(path.name)))]
        return found

    def check(self, name, path, encode_batch):
        found = self.sweep(path, encode_batch)
        report = os.environ.get("BESSEMER_SWEEP_REPORT")
        if report:
            with open(report, "a", encoding="utf-8") as out:
                out.write(json.dumps({"kind": name, "found": found}) + "\n")
        by_around = {}
        for around, c in found:
            by_around.setdefault(around, []).append(ascii(c))
        self.assertEqual(found, [], f"{name}: " + str({k: (len(v), v[:8]) for k, v in by_around.items()}))

    def test_tokenizers(self):
        for name, tokenizer in tokenizers_kinds().items():
            with self.subTest(name):
                path = self.work / "tokenizer.json"
                tokenizer.save(str(path))
                encode = lambda rows: [e.ids for e in tokenizer.encode_batch_fast(
                    rows, add_special_tokens=False)]
                self.check("tokenizers: " + name, path, encode)

    @unittest.skipIf(tiktoken is None, "no tiktoken in this Python")
    def test_tiktoken(self):
        ranks = {bytes([b]): b for b in range(256)}
        ranks |= {bytes(pair): 256 + i for i, pair in enumerate(borders())}
        for name, pattern in TIKTOKEN.items():
            with self.subTest(name):
                path = self.work / f"{name}.tiktoken"
                path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank
                                          for token, rank in ranks.items()))
                encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks,
                                             special_tokens={})
                self.check("tiktoken: " + name, path,
                           lambda rows: encoding.encode_ordinary_batch(rows, num_threads=2))

    @unittest.skipIf(sentencepiece is None, "no sentencepiece in this Python")
    def test_sentencepiece(self):
        (self.work / "corpus.txt").write_text(tokenizer_test.corpus(5), encoding="utf-8")
        common = dict(input=self.work / "corpus.txt", hard_vocab_limit=False, minloglevel=2,
                      num_threads=1, vocab_size=700, byte_fallback=True)
        kinds = {
            "bpe identity": dict(model_type="bpe", normalization_rule_name="identity"),
            "unigram nmt_nfkc": dict(model_type="unigram", normalization_rule_name="nmt_nfkc"),
            "unigram nfkc_cf": dict(model_type="unigram", normalization_rule_name="nmt_nfkc_cf",
                                    remove_extra_whitespaces=False),
        }
        for name, options in kinds.items():
            with self.subTest(name):
                sentencepiece.SentencePieceTrainer.train(
                    model_prefix=str(self.work / "model"), **common, **options)
                processor = sentencepiece.SentencePieceProcessor(
                    model_file=str(self.work / "model.model"))
                path = self.work / "model.model"
                self.check("sentencepiece: " + name, path,
                           lambda rows: processor.encode(rows, num_threads=2))
                draw = random.Random(17)
                rows = [draw.randbytes(draw.randint(1, 80)) for _ in range(5000)]
                self.assertEqual(self.differing(path, lambda r: [processor.encode(t) for t in r], rows), [])
