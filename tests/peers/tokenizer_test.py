"""tokenizer.json files that cross the border, in both directions, on random text."""

import pathlib
import random
import sys
import tempfile
import unittest

import support
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 600
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
ALPHABETS = [
    "abcdefghij  \n", "aA'stredvmll  ", "0123456789 .,:-+", "  \t\n\r\u00a0\u2003x",
    "äöüßéñçøžŁ ", "αβγδεζ абвгде ", "中文字符漢字 日本語かな ", "👍🏽🚀👩‍👩‍👧 e\u0301\u0327",
    "عربي עברית हिन्दी ไทย ", "".join(map(chr, range(1, 128))),
]


def random_texts(count, seed):
    draw = random.Random(seed)
    texts = ["", " ", "\n\n", "a", "<|endoftext|>", " <|endoftext|>x<|endoftext|><|endoftext|>"]
    for i in range(count):
        alphabet = ALPHABETS[i % len(ALPHABETS)] + draw.choice(ALPHABETS)
        texts.append("".join(draw.choices(alphabet, k=draw.randint(1, 200))))
    for _ in range(count // 4):  # any scalar value
        points = (draw.randrange(1, sys.maxunicode + 1) for _ in range(draw.randint(1, 60)))
        texts.append("".join(chr(p) for p in points if not 0xD800 <= p < 0xE000))
    return texts


def corpus(seed):
    draw = random.Random(seed)
    words = ["".join(draw.choices(ALPHABETS[i % 7].strip(), k=draw.randint(1, 7)))
             for i in range(400)]
    return "\n".join(" ".join(draw.choices(words, k=12)) for _ in range(2000))


def trained_by_tokenizers(kind, text, path):
    tokenizer = Tokenizer(models.BPE(ignore_merges=kind == "llama3"))
    if kind == "llama3":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(text.split("\n"), trainer)
    tokenizer.save(str(path))


class Tokenizers(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def encode(self, path, text):
        ids = support.run("bessemer", "tokenizer", "encode", "--tokenizer", path,
                          stdin=text.encode())
        return [int(word) for word in ids.split()]

    def decode(self, path, ids):
        return support.run("bessemer", "tokenizer", "decode", "--tokenizer", path,
                           stdin=" ".join(map(str, ids)).encode())

    def assert_same_ids(self, path):
        theirs = Tokenizer.from_file(str(path))
        for text in random_texts(60, seed=20240301):
            ids = theirs.encode(text, add_special_tokens=False).ids
            self.assertEqual(self.encode(path, text), ids, repr(text))
            self.assertEqual(self.decode(path, ids), text.encode(), repr(text))

    def test_ours_is_read_by_tokenizers(self):
        (self.work / "corpus.txt").write_text(corpus(1))
        path = self.work / "tokenizer.json"
        support.run("bessemer", "tokenizer", "train", "--vocabulary", VOCABULARY, "--out", path,
                    self.work / "corpus.txt")
        self.assert_same_ids(path)

    def test_theirs_is_read_by_us(self):
        for kind in ("gpt2", "llama3"):
            with self.subTest(kind):
                path = self.work / f"{kind}.json"
                trained_by_tokenizers(kind, corpus(2), path)
                self.assert_same_ids(path)

    def test_every_byte_comes_back(self):
        (self.work / "corpus.txt").write_text(corpus(3))
        path = self.work / "tokenizer.json"
        support.run("bessemer", "tokenizer", "train", "--vocabulary", VOCABULARY, "--out", path,
                    self.work / "corpus.txt")
        data = bytes(random.Random(4).randrange(256) for _ in range(4000))
        ids = support.run("bessemer", "tokenizer", "encode", "--tokenizer", path, stdin=data)
        self.assertEqual(self.decode(path, map(int, ids.split())), data)
