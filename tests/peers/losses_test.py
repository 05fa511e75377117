"""Twenty steps of training against PyTorch, from the same weights on the same tokens."""

import pathlib
import tempfile
import unittest

import safetensors.torch
import support
from make_inputs import batches
from worker import Worker

STEPS = 20
TOLERANCE = {"fp32": 1e-4, "bf16": 1e-2}  # relative, of each step's loss


class Losses(unittest.TestCase):
    def losses(self, way, recipe, inputs):
        with Worker(way, recipe, inputs, threads=2) as worker:
            worker.run(STEPS)
            return worker.column("loss"), worker.column("gradient_norm")

    def test_losses_and_gradient_norms_agree(self):
        for name in ("gpt2", "llama"):
            for recipe, tolerance in TOLERANCE.items():
                with self.subTest(model=name, recipe=recipe), tempfile.TemporaryDirectory() as work:
                    inputs = pathlib.Path(work)
                    support.save_random_model(support.CONFIGS[name], inputs / "model", 3)
                    safetensors.torch.save_file(batches(support.VOCABULARY, STEPS, 4, 32),
                                                inputs / "batches.safetensors")
                    ours, our_norms = self.losses("bessemer", recipe, inputs)
                    theirs, their_norms = self.losses("eager", recipe, inputs)
                    self.assertLess(theirs[-1], theirs[0])  # there was something to learn
                    for step in range(STEPS):
                        self.assertAlmostEqual(ours[step] / theirs[step], 1, delta=tolerance,
                                               msg=f"loss of step {step + 1}")
                        self.assertAlmostEqual(our_norms[step] / their_norms[step], 1,
                                               delta=10 * tolerance,
                                               msg=f"gradient norm of step {step + 1}")
