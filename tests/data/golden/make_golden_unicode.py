"""Makes unicode.jsonl: steps of a tokenizer.json on characters that tables of different versions of
Unicode do not agree about, and on what regular expressions disagree about.

    python make_golden_unicode.py     (tokenizers 0.23.3)

A line has a step, as it stands in a tokenizer.json, and what it makes of texts: a normalizer's text,
a pre-tokenizer's pieces.
"""

import json

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from make_golden import HERE

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
# Of Unicode 15, 15.1, 16, 17 and 18, and changed ones: letters, numbers, marks, signs.
CHARACTERS = (
    "\u0cf3 \u0ece \U00010efd \U0001123f \U00011f02 \U00011f50 \U0001b132 \U0001d2c0 \U0001e030 \U0001e4d0 \U0001e4f0 "
    "\U0001fae8 \U00031350 \u2ffc \U0002ebf0 \u0897 \u1b4e \u1b7f \u1c89 \u1c8a \u2427 \ua7cb \ua7cd \ua7da \ua7dc "
    "\U000105c0 \U00010d40 \U00010d4e \U00010d50 \U00010d70 \U00010d6e \U000113b8 \U000113d1 \U000113d7 \U00011bf0 "
    "\U00016d40 \U00016d6b \U0001ccf0 \U0001fac6 \u088f \u0c5c \u1acf \u20c1 \ua7ce \ua7d2 \ua7f1 \U00010940 "
    "\U00010ec5 \U00011de0 \U00011b60 \U00016ea0 \U00016ebb \U000323b0 \U0001f6d8 \u0558 \u05c8 \U0001246f \u0378 "
    "\u0295 \U0001171e \u166d \U000111c9 \u09fd \u0a76 \u2e43 \u061d \u1cf2 \u00b2 \u00bd \u200d \u180e").split()
AROUND = ["a{c}b", "1{c}2", "!{c}? {c}{c}\n", "½{c}", "'s{c}A"]

def texts():
    return ["".join(around.format(c=c) for around in AROUND) for c in CHARACTERS]


def step_of(part, step):
    tokenizer = Tokenizer(models.BPE())
    setattr(tokenizer, part, step)
    return json.loads(tokenizer.to_str())[part]


def main():
    p, n = pre_tokenizers, normalizers
    split = lambda pattern, how="isolated": p.Split(Regex(pattern), how)
    lines = []
    for step in [split(GPT2), split(O200K), split(r"\w+|[^\w\s]+"), split(r"\b\S+?\b|^.|\h\B[\S\n]$"),
                 p.Digits(True), p.Punctuation("contiguous"), p.Whitespace()]:
        rows = [[text, [piece for piece, _ in step.pre_tokenize_str(text)]] for text in texts()]
        lines.append({"pre_tokenizer": step_of("pre_tokenizer", step), "rows": rows})
    for step in [n.NFKC(), n.StripAccents(), n.Lowercase(), n.Replace(Regex(r"[\s\p{P}]{2,}"), "-")]:
        rows = [[text, step.normalize_str(text)] for text in texts()]
        lines.append({"normalizer": step_of("normalizer", step), "rows": rows})
    step = Tokenizer.from_file(str(HERE / "xlmr.json")).normalizer  # a table of replacements
    rows = [[text, step.normalize_str(text)] for text in texts()]
    lines.append({"normalizer": step_of("normalizer", step), "rows": rows})
    with open(HERE / "unicode.jsonl", "w", encoding="utf-8") as out:
        for line in lines:
            out.write(json.dumps(line, ensure_ascii=True) + "\n")

if __name__ == "__main__":
    main()
