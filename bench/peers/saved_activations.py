"""Bytes that PyTorch eager keeps from forward for backward, by its saved-tensor hooks: every storage
once, parameters not counted. Copies of parameters that autocast makes are told apart.

    $(tools/peers_python) bench/peers/saved_activations.py --model DIR --batches FILE [--checkpoint]

DIR and FILE are make_inputs.py's, or build/peers/CASE/ after bench/peers/run --case CASE.
"""

import argparse
import json

import safetensors.torch
import torch

import models
import torch_step


class SavedStorages:
    """As a context: notes the storages that are saved while it lasts."""

    def __init__(self, model):
        self.parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.shapes = {frozenset(p.shape) for p in model.parameters() if p.ndim == 2}
        self.bytes = {}   # by address; autograd holds the storages, so none is used again
        self.copies = {}  # the same, of copies of parameters
        self.hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor):
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address not in self.parameters:
            is_copy = tensor.ndim == 2 and frozenset(tensor.shape) in self.shapes
            (self.copies if is_copy else self.bytes)[address] = storage.nbytes()
        return tensor

    def __enter__(self):
        self.hooks.__enter__()
        return self

    def __exit__(self, *error):
        self.hooks.__exit__(*error)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--batches", required=True)
    parser.add_argument("--recipe", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--sequences", type=int, help="of a batch; all of them where not given")
    parser.add_argument("--checkpoint", action="store_true")
    arguments = parser.parse_args()
    batches = safetensors.torch.load_file(arguments.batches)
    if arguments.sequences == 1:
        parser.error("--sequences 1: T rows may be the rows of a parameter; take 2 or more")
    inputs, targets = (batches[name][0, :arguments.sequences].long()
                       for name in ("inputs", "targets"))
    model = models.load(arguments.model).train()
    if arguments.checkpoint:
        models.checkpoint_blocks(model)
    loss_of = torch_step.make_loss(model, arguments.recipe)
    with SavedStorages(model) as saved:
        loss = loss_of(inputs, targets)
    print(json.dumps({"shape": list(inputs.shape), "recipe": arguments.recipe,
                      "checkpoint": arguments.checkpoint, "loss": loss.item(),
                      "activation_bytes": sum(saved.bytes.values()),
                      "parameter_copy_bytes": sum(saved.copies.values())}))


if __name__ == "__main__":
    main()
