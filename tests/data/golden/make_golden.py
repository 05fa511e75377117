"""Makes the golden files of the tokenizer tests with Hugging Face's `tokenizers`.

    python make_golden.py            (tokenizers 0.23.3 made the files that are committed)

Reads train.txt; writes gpt2.json and llama3.json (tokenizers trained on it, the first as
tokenizers saves it, the second in the shape of Llama 3's file) and, for each, NAME.ids.jsonl: one
{"text": ..., "ids": [...]} a line, encoded without special tokens being added.
"""

import json
import os
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HERE = pathlib.Path(os.path.relpath(pathlib.Path(__file__).parent))  # models hold their paths
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Not `train`, which cuts files into lines before words.
TRAIN = (HERE / "train.txt").read_bytes().decode()

TEXTS = [
    "",
    " ",
    "\n",
    "   \n \t\n  end",
    "Hello, world!",
    "I'll say they've it's WE'RE can'T 'tis ''s 'll",
    "'\u017f long s, '\u212a kelvin",
    "tabs\tand\r\nCRLF\r\n\r\nlines  \n\n  indented\u00a0nbsp\u3000ideographic\u180emvs\u200bzwsp\u2028ls",
    "numbers 1 12 123 1234 12345 3.14159 \u0663\u0664\u0665 \u2167 \u00bd x\u00b2",
    "caf\u00e9 na\u00efve \u00dcbergr\u00f6\u00dfe \u0141\u00f3d\u017a e\u0301 combining",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \u0928\u092e\u0938\u094d\u0924\u0947",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3002\u4e2d\u6587\u6587\u672c\uff01\ud55c\uad6d\uc5b4",
    "emoji \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f done",
    "nul \u0000 and \u0001 control \u007f bytes \ufeff bom \uffff",
    "a<|endoftext|>b <|endoftext|><|endoftext|> <|pad|>\n<|end|oftext|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "def f(x):\n    if x  >=  10:\n\t\treturn {'k': [x ** 2, \"s\\n\"]}\n\n\n#### ---- ====!!\n\n",
    "the king of the mill and the miller " * 20,
    "/" * 7 + "\n" * 5 + "." * 3 + " " * 9 + "x" + " " * 2,
]


def save_ids(tokenizer, name):
    with open(HERE / f"{name}.ids.jsonl", "w", encoding="utf-8") as out:
        for text in TEXTS + [TRAIN]:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            out.write(json.dumps({"text": text, "ids": ids}) + "\n")


def gpt2():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=2,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TRAIN], trainer)
    tokenizer.save(str(HERE / "gpt2.json"))
    save_ids(tokenizer, "gpt2")


def llama3():
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3), behavior="isolated", invert=False),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TRAIN], trainer)
    # A word that no merge makes: only ignore_merges finds it.
    data = json.loads(tokenizer.to_str())
    data["model"]["vocab"]["zyx"] = len(data["model"]["vocab"])
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|endoftext|>"])
    tokenizer.add_tokens([AddedToken("<|pad|>", normalized=False)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A",
        special_tokens=[("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))],
    )
    tokenizer.save(str(HERE / "llama3.json"))
    TEXTS.append("zyx zyx, zyxzyx")
    save_ids(tokenizer, "llama3")


if __name__ == "__main__":
    gpt2()
    llama3()
