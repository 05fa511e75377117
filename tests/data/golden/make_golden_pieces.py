"""Makes the golden files of tokenizers that are not byte-level BPE in a tokenizer.json.

    python make_golden_pieces.py     (sentencepiece 0.2.3, tokenizers 0.23.3, tiktoken 0.14.0)

Reads train.txt and gpt2.json. Writes

    sp_bpe.model, sp_unigram.model         SentencePiece models: BPE with byte fallback, Unigram with
                                           rules of replacement and user-defined symbols
    llama2.json, mistral.json, gemma.json  the first in the shapes of these families' files
    t5.json, xlmr.json                     the second in the shapes of these families' files
    normalizers.json                       every normalizer in one row, Unigram behind
    tiny_cl100k_base.tiktoken              the ranks of gpt2.json
    tiny_o200k_base.tiktoken

and for each NAME.ids.jsonl: one {"text": ..., "ids": [...], "decoded": ...} a line.
"""

import base64
import json

import sentencepiece
import tiktoken
import tiktoken_ext.openai_public
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, pre_tokenizers

import make_golden
from make_golden import HERE, TRAIN

SPACE = "\u2581"
TEXTS = make_golden.TEXTS + [
    "  leading and trailing  ",
    "a  b   c    d",
    "ﬁne ½ ｆｕｌｌ width Ⅷ ﷺ ＡＢＣ",
    "A\u030angstro\u0308m \u212b \u1e9b\u0323 \u0130stanbul",
    "the <sym> miller<sym>mill <s> </s> <unk> " + SPACE + "x" + SPACE + SPACE,
    "<mask> the <mask>  mill  <mask>mill <word> x<word> <word>y",
    "\u2581\u2581the \u2581mill\u2581",
    "x\u200b\u200fy \ufeffz \u0600a e\u0301\u0301 \u1100\u1161\u11a8",
    "<0x41> <0xe2>",
    "\U0001f600\U0001f600 qqqq ~~~~ \u4e00\u4e8c",
]


def train(name, **options):
    sentencepiece.SentencePieceTrainer.train(
        input=HERE / "train.txt", model_prefix=str(HERE / name), hard_vocab_limit=False,
        minloglevel=2, num_threads=1, **options)
    (HERE / f"{name}.vocab").unlink()
    return sentencepiece.SentencePieceProcessor(model_file=str(HERE / f"{name}.model"))


def save(name, rows):
    with open(HERE / f"{name}.ids.jsonl", "w", encoding="utf-8") as out:
        for text, ids, decoded in rows:
            out.write(json.dumps({"text": text, "ids": ids, "decoded": decoded}) + "\n")


def save_model(name, processor):
    rows = []
    for text in TEXTS + [TRAIN]:
        ids = processor.encode(text)
        rows.append((text, ids, processor.decode(ids)))
    save(name, rows)


def save_json(name, parts):
    added = [{"id": i, "content": c, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": True, **flags} for i, c, flags in parts.pop("added")]
    file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None,
            **parts}
    path = HERE / f"{name}.json"
    path.write_text(json.dumps(file, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(path))
    rows = []
    for text in TEXTS + [TRAIN]:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        rows.append((text, ids, tokenizer.decode(ids, skip_special_tokens=False)))
    save(name, rows)


def proto(name):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((HERE / f"{name}.model").read_bytes())
    return model


def bpe_model(name):
    """The BPE model of a tokenizer.json, as Hugging Face's converter makes it."""
    pieces = [p.piece for p in proto(name).pieces]
    ids = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        local = [(piece[:i], piece[i:]) for i in range(1, len(piece))
                 if piece[:i] in ids and piece[i:] in ids]
        merges += sorted(local, key=lambda pair: (ids[pair[0]], ids[pair[1]]))
    # Pieces are in the order of their scores.
    return {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
            "ignore_merges": False, "vocab": ids, "merges": [f"{a} {b}" for a, b in merges]}


def unigram_model(name):
    model = proto(name)
    return {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
            "vocab": [[p.piece, p.score] for p in model.pieces]}


def sequence(key, steps):
    return {"type": "Sequence", key: steps}


REPLACE_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
CONTROL = [(0, "<unk>", {}), (1, "<s>", {}), (2, "</s>", {})]
DECODER = sequence("decoders", [
    {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"},
    {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}])


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split}


def bpe_files():
    save_model("sp_bpe", train(
        "sp_bpe", model_type="bpe", vocab_size=500, byte_fallback=True, character_coverage=0.98,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True,
        allow_whitespace_only_pieces=True))
    model = bpe_model("sp_bpe")
    save_json("llama2", {"added": CONTROL, "model": model, "decoder": DECODER, "normalizer": sequence(
        "normalizers", [{"type": "Prepend", "prepend": SPACE}, REPLACE_SPACE])})
    size = len(model["vocab"])
    marks = [(size, "<mask>", {"lstrip": True}), (size + 1, "<sym>", {"rstrip": True}),
             (size + 2, "<word>", {"single_word": True}),
             (size + 3, "miller", {"normalized": True, "special": False})]
    save_json("mistral", {"added": CONTROL + marks, "model": model, "decoder": DECODER,
                          "pre_tokenizer": metaspace("first", split=False)})
    save_json("gemma", {
        "added": CONTROL, "model": {**model, "byte_fallback": False, "fuse_unk": False},
        "normalizer": REPLACE_SPACE, "decoder": metaspace("never"),
        "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "invert": False,
                          "behavior": "MergedWithPrevious"}})


def unigram_files():
    rules = HERE / "rules.tsv"
    pairs = [("Å", "a"), ("Å", "aa"), ("ﬁ", "fi"), ("\t", " "), ("\n", " "), ("\r", " "), ("\u3000", " "),
             ("é", "e"), ("\u200b", ""), ("½", " 1/2"), ("e\u0301", "E"), ("ab", "ba"), ("abc", "X")]
    rules.write_text("".join(
        " ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n"
        for a, b in pairs), encoding="utf-8")
    save_model("sp_unigram", train(
        "sp_unigram", model_type="unigram", vocab_size=220, normalization_rule_tsv=str(rules),
        user_defined_symbols=["<sym>", "mill"]))
    rules.unlink()
    model = unigram_model("sp_unigram")
    charsmap = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(
        proto("sp_unigram").normalizer_spec.precompiled_charsmap).decode()}
    blanks = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": SPACE}
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    save_json("t5", {"added": CONTROL, "model": model, "decoder": metaspace("always"),
                     "normalizer": sequence("normalizers", [charsmap, strip, blanks]),
                     "pre_tokenizer": metaspace("always")})
    save_json("xlmr", {
        "added": CONTROL + [(len(model["vocab"]), "<mask>", {"lstrip": True})], "model": model,
        "normalizer": charsmap, "decoder": metaspace("always"),
        "pre_tokenizer": sequence("pretokenizers", [{"type": "WhitespaceSplit"}, metaspace("always")])})
    steps = [{"type": "Nmt"}, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
             {"type": "NFC"}, {"type": "Strip", "strip_left": True, "strip_right": True}]
    save_json("normalizers", {
        "added": CONTROL, "model": model, "normalizer": sequence("normalizers", steps),
        "pre_tokenizer": sequence("pretokenizers", [
            {"type": "Whitespace"}, {"type": "Digits", "individual_digits": True},
            {"type": "Punctuation", "behavior": "MergedWithNext"}, metaspace("first")])})


def tiktoken_files():
    alphabet = {c: b for b, c in zip(
        sorted(range(256), key=lambda b: not (33 <= b < 127 or 161 <= b < 173 or 174 <= b)),
        [chr(b) for b in range(256) if 33 <= b < 127 or 161 <= b < 173 or 174 <= b]
        + [chr(256 + i) for i in range(68)])}
    vocabulary = json.loads((HERE / "gpt2.json").read_text(encoding="utf-8"))["model"]["vocab"]
    tokens = sorted((i, t) for t, i in vocabulary.items() if t != "<|endoftext|>")
    ranks = {bytes(alphabet[c] for c in text): rank for rank, (_, text) in enumerate(tokens)}
    published = tiktoken_ext.openai_public
    load = published.load_tiktoken_bpe
    published.load_tiktoken_bpe = lambda *a, **k: ranks
    for name in ("cl100k_base", "o200k_base"):
        pattern = getattr(published, name)()["pat_str"]
        (HERE / f"tiny_{name}.tiktoken").write_bytes(b"".join(
            base64.b64encode(token) + b" %d\n" % rank for token, rank in ranks.items()))
        encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks,
                                     special_tokens={"<|endoftext|>": len(ranks) + 1})
        rows = []
        for text in TEXTS + [TRAIN]:
            ids = encoding.encode(text, allowed_special="all")
            rows.append((text, ids, encoding.decode(ids)))
        save(f"tiny_{name}", rows)
    published.load_tiktoken_bpe = load


if __name__ == "__main__":
    bpe_files()
    unigram_files()
    tiktoken_files()
