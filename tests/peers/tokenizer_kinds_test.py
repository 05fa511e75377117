"""Tokenizers of every kind of file beside their originals, on random texts: `tokenizers` for
tokenizer.json, `sentencepiece` for tokenizer.model, `tiktoken` for rank files. Ids and decoded texts
must be the same."""

import base64
import json
import pathlib
import random
import tempfile
import unittest

import support
import tokenizer_test
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers,
                        trainers)

tiktoken = support.optional("tiktoken")
sentencepiece = support.optional("sentencepiece")

TEXTS = 400
SPACE = "\u2581"
ODD = [
    "", " ", "   ", "\n", " \n \n", "a" * 3000, " " * 300, "\u2581" * 7 + "a" + "\u2581" * 3, "ﬁ½Ⅷﷺ", "\r\n\r\r\n",
    "e\u0301\u0301o\u0308", "\u1100\u1161\u11a8\uac00", "\u0600a\u200db", "a\u0000b\u0001c", "<0x41><0xE2>",
    "<s> </s> <unk>", "x<mask>  y <mask>z", "word words wordword word", "\ufeffbom \ufffd \uffff",
    "👩‍👩‍👧‍👦🏽🇩🇪" * 5, "ﾊﾝｶｸ　全角　ＡＢＣ", "İıẞßſK", "नमस्ते क्षत्रिय", "\u0f73\u0f75\u0344", "\t tabs\tand\x0bmore\x0c",
]


def texts(seed):
    return ODD + tokenizer_test.random_texts(TEXTS, seed)


def metaspace(scheme, split=True):
    return pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme=scheme, split=split)


def trained(tokenizer, text, unigram):
    """Trains on lines; Unigram needs its unknown token, BPE the bytes."""
    byte_level = isinstance(tokenizer.decoder, decoders.ByteLevel)
    if unigram:
        trainer = trainers.UnigramTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"],
                                          unk_token="<unk>", show_progress=False)
    else:
        trainer = trainers.BpeTrainer(
            vocab_size=900, show_progress=False, limit_alphabet=256,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if byte_level else [],
            special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)])
    tokenizer.train_from_iterator(text.split("\n"), trainer)
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True, special=True),
                          AddedToken("word", single_word=True, normalized=True),
                          AddedToken("ab", rstrip=True, normalized=False)])
    return tokenizer


def bpe_kinds():
    bpe = lambda **keys: Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, **keys))
    space = normalizers.Replace(" ", SPACE)
    llama = bpe(byte_fallback=True)
    llama.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), space])
    llama.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(),
                                       decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    mistral = bpe(byte_fallback=True)
    mistral.pre_tokenizer = metaspace("first", split=False)
    mistral.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    gemma = bpe()
    gemma.normalizer = space
    gemma.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    gemma.decoder = llama.decoder
    deepseek = bpe()
    deepseek.normalizer = normalizers.NFC()
    deepseek.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex("[\r\n]"), "isolated"), pre_tokenizers.Digits(True),
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=True)])
    deepseek.decoder = decoders.ByteLevel()
    return {"llama": llama, "mistral": mistral, "gemma": gemma, "deepseek": deepseek}


def unigram_kinds():
    steps = [
        [normalizers.NFKC()],
        [normalizers.Nmt(), normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
         normalizers.NFD(), normalizers.Strip()],
        [normalizers.Replace(Regex(r"\s{2,}"), " "), normalizers.Strip(left=False)],
    ]
    splits = [metaspace("always"),
              pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), metaspace("first")]),
              pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), metaspace("never"),
                                       pre_tokenizers.Punctuation("removed")])]
    kinds = {}
    for i, (normalizer, split) in enumerate(zip(steps, splits)):
        kinds[f"unigram{i}"] = Tokenizer(models.Unigram())
        kinds[f"unigram{i}"].normalizer = normalizers.Sequence(normalizer)
        kinds[f"unigram{i}"].pre_tokenizer = split
        kinds[f"unigram{i}"].decoder = decoders.Metaspace()
    return kinds


class Kinds(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def ours(self, path, rows):
        """(ids, decoded bytes) for each text (bytes)."""
        answer = support.run("peer_tokens", path, stdin=b"".join(r.hex().encode() + b"\n" for r in rows))
        return [(row["ids"], bytes.fromhex(row["decoded"]))
                for row in map(json.loads, answer.splitlines())]

    def assert_same(self, path, rows, encode, decode):
        encoded = [text.encode() if isinstance(text, str) else text for text in rows]
        answers = self.ours(path, encoded)
        self.assertEqual(len(answers), len(rows))
        for text, (ids, decoded) in zip(rows, answers):
            expected = list(encode(text))
            self.assertEqual(ids, expected, repr(text))
            self.assertEqual(decoded, decode(expected), repr(text))

    def check_json(self, tokenizer, name, seed):
        path = self.work / f"{name}.json"
        tokenizer.save(str(path))
        byte_level = isinstance(tokenizer.decoder, decoders.ByteLevel)

        def decode(ids):
            return tokenizer.decode(ids, skip_special_tokens=False).encode()
        rows = texts(seed)
        encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        if byte_level:  # theirs gives text, ours bytes
            rows = [row for row in rows if "\ufffd" not in decode(encode(row)).decode()]
        self.assert_same(path, rows, encode, decode)

    def test_bpe_in_tokenizer_json(self):
        for i, (name, tokenizer) in enumerate(bpe_kinds().items()):
            with self.subTest(name):
                self.check_json(trained(tokenizer, tokenizer_test.corpus(i), False), name, 100 + i)

    def test_unigram_in_tokenizer_json(self):
        for i, (name, tokenizer) in enumerate(unigram_kinds().items()):
            with self.subTest(name):
                self.check_json(trained(tokenizer, tokenizer_test.corpus(i), True), name, 200 + i)

    def test_every_character_through_normalizers(self):
        """Each code point alone and behind a letter, but for what is newer than both sides' tables."""
        base = trained(Tokenizer(models.Unigram()), tokenizer_test.corpus(3), True)
        characters = [chr(c) for c in range(1, 0x30000) if not 0xD800 <= c < 0xE000]
        for name, step in (("nfc", normalizers.NFC()), ("nfkc", normalizers.NFKC()),
                           ("nfkd", normalizers.NFKD()), ("nmt", normalizers.Nmt()),
                           ("accents", normalizers.StripAccents())):
            with self.subTest(name):
                base.normalizer = step
                path = self.work / f"{name}.json"
                # A vocabulary of hexadecimal digits would hide changes: ask for the characters.
                parts = json.loads(base.to_str())
                parts["model"] = {"type": "BPE", "vocab": {}, "merges": [], "byte_fallback": True,
                                  "unk_token": None, "fuse_unk": False, "dropout": None,
                                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                                  "ignore_merges": False}
                parts["model"]["vocab"] = {f"<0x{b:02X}>": b for b in range(256)}
                parts["added_tokens"] = []
                path.write_text(json.dumps(parts), encoding="utf-8")
                theirs = Tokenizer.from_file(str(path))
                rows = ["".join(f"{c}e{c}" for c in characters[i:i + 64])
                        for i in range(0, len(characters), 64)]
                encode = lambda text: theirs.encode(text, add_special_tokens=False).ids
                for text, (ids, _) in zip(rows, self.ours(path, [row.encode() for row in rows])):
                    self.assertEqual(bytes(ids), bytes(encode(text)), repr(text))

    @unittest.skipIf(sentencepiece is None, "no sentencepiece in this Python")
    def test_tokenizer_model(self):
        (self.work / "corpus.txt").write_text(tokenizer_test.corpus(5), encoding="utf-8")
        common = dict(input=self.work / "corpus.txt", hard_vocab_limit=False, minloglevel=2,
                      num_threads=1, vocab_size=600)
        kinds = {
            "llama": dict(model_type="bpe", byte_fallback=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False, character_coverage=0.98),
            "bpe": dict(model_type="bpe", user_defined_symbols=["<mask>", "ab", SPACE + "x"],
                        add_dummy_prefix=False),
            "t5": dict(model_type="unigram", normalization_rule_name="nmt_nfkc"),
            "gemma": dict(model_type="unigram", byte_fallback=True, add_dummy_prefix=False,
                          split_digits=True, allow_whitespace_only_pieces=True,
                          remove_extra_whitespaces=False, user_defined_symbols=["\n\n", "word"]),
            "suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True,
                           normalization_rule_name="nmt_nfkc_cf"),
        }
        for i, (name, options) in enumerate(kinds.items()):
            with self.subTest(name):
                sentencepiece.SentencePieceTrainer.train(
                    model_prefix=str(self.work / name), **common, **options)
                processor = sentencepiece.SentencePieceProcessor(
                    model_file=str(self.work / f"{name}.model"))
                draw = random.Random(300 + i)
                rows = texts(300 + i) + [draw.randbytes(draw.randint(1, 80)) for _ in range(100)]
                self.assert_same(self.work / f"{name}.model", rows, processor.encode,
                                 lambda ids: processor.decode(ids).encode())

    @unittest.skipIf(tiktoken is None, "no tiktoken in this Python")
    def test_tiktoken(self):
        path = self.work / "trained.json"
        tokenizer_test.trained_by_tokenizers("gpt2", tokenizer_test.corpus(6), path)
        tokenizer = Tokenizer.from_file(str(path))
        alphabet = {chr(b): b for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or 174 <= b}
        others = [b for b in range(256) if b not in alphabet.values()]
        alphabet |= {chr(256 + i): b for i, b in enumerate(others)}
        tokens = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda t: t[1])]
        ranks = {bytes(alphabet[c] for c in token): rank
                 for rank, token in enumerate(t for t in tokens if t != "<|endoftext|>")}
        import tiktoken_ext.openai_public as public
        load, public.load_tiktoken_bpe = public.load_tiktoken_bpe, lambda *a, **k: ranks
        self.addCleanup(setattr, public, "load_tiktoken_bpe", load)
        distance = {"r50k_base": 0, "p50k_base": 0, "cl100k_base": 1, "o200k_base": 1}
        for i, (name, end) in enumerate(distance.items()):
            with self.subTest(name):
                path = self.work / f"{name}.tiktoken"
                path.write_bytes(b"".join(
                    base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
                encoding = tiktoken.Encoding(name, pat_str=getattr(public, name)()["pat_str"],
                                             mergeable_ranks=ranks,
                                             special_tokens={"<|endoftext|>": len(ranks) + end})
                self.assert_same(path, texts(400 + i),
                                 lambda text: encoding.encode(text, allowed_special="all"),
                                 encoding.decode_bytes)
