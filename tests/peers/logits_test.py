"""The logits of models that cross the border, in both directions."""

import pathlib
import tempfile
import unittest

import support  # puts bench/peers on the path
import models
import torch
import transformers

TEXT = "".join(f"{i} steels, {i * i} ingots; the heat was in the iron.\n" for i in range(3000))

RUN_FILE = """
[model]
architecture = "{architecture}"
layers = 2
hidden = 64
heads = 4
{more}
[data]
path = "text.txt"
vocabulary = 300
sequence_length = 32
[train]
name = "run"
steps = 4
micro_batch_size = 2
global_batch_size = 4
[optimizer]
learning_rate = 1e-2
[precision]
recipe = "{recipe}"
[checkpoint]
every = 2
"""

RUNS = {
    "gpt2": ("gpt2", "", "fp32"),
    "gpt2 bf16": ("gpt2", "", "bf16"),
    "llama": ("llama", "kv_heads = 2\nffn = 96", "fp32"),
    "llama tied": ("llama", "kv_heads = 1\nffn = 96\ntied_embeddings = true", "bf16"),
}


class Logits(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = pathlib.Path(directory.name)

    def assert_close(self, ours, theirs):
        self.assertEqual(ours.shape, theirs.shape)
        scale = theirs.abs().max().item()
        self.assertLess((ours - theirs).abs().max().item(), 2e-5 * max(1.0, scale))

    def test_models_of_transformers_are_read(self):
        for seed, (name, config) in enumerate(support.CONFIGS.items()):
            with self.subTest(name):
                directory = self.work / f"model{seed}"
                support.save_random_model(config, directory, seed)
                tokens = support.random_tokens(seed)
                self.assert_close(support.bessemer_logits(directory, tokens, self.work),
                                  support.transformers_logits(directory, tokens))

    def test_trained_models_are_exported_for_transformers(self):
        for name, (architecture, more, recipe) in RUNS.items():
            with self.subTest(name):
                work = self.work / name.replace(" ", "_")
                work.mkdir()
                (work / "text.txt").write_text(TEXT)
                (work / "run.toml").write_text(
                    RUN_FILE.format(architecture=architecture, more=more, recipe=recipe))
                support.run("bessemer", "train", "run.toml", cwd=work)
                support.run("bessemer", "export", "runs/run", "exported", cwd=work)
                config = transformers.AutoConfig.from_pretrained(work / "exported")
                tokens = support.random_tokens(1, vocabulary=config.vocab_size)
                self.assert_close(support.bessemer_logits(work / "runs/run", tokens, work),
                                  support.transformers_logits(work / "exported", tokens))
                tokenizer = transformers.AutoTokenizer.from_pretrained(work / "exported")
                ids = support.run("bessemer", "tokenizer", "encode", "--tokenizer",
                                  "exported/tokenizer.json", stdin=b"12 ingots", cwd=work)
                self.assertEqual(tokenizer.encode("12 ingots", add_special_tokens=False),
                                 [int(word) for word in ids.split()])

    def test_the_models_of_the_benchmark_are_those_of_transformers(self):
        for name in ("gpt2", "llama"):
            with self.subTest(name):
                support.save_random_model(support.CONFIGS[name], self.work / name, 7)
                tokens = support.random_tokens(7)
                with torch.no_grad():
                    logits = models.load(self.work / name)(tokens)
                self.assert_close(logits, support.transformers_logits(self.work / name, tokens))
