"""PyTorch's side of the comparison: the protocol of train_step.cpp (a number on standard input asks
for so many steps, one JSON object a line answers), the same batches, weights and hyperparameters.

    python torch_step.py --model DIR --batches FILE --recipe fp32|tf32|bf16 [--compile | --checkpoint]
"""

import argparse
import json
import sys
import time

import safetensors.torch
import torch
from torch.nn import functional

import models


def peak_resident_bytes():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def optimizer_of(model, arguments):
    parameters = list(model.parameters())
    groups = [{"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
              {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=arguments.learning_rate, betas=(0.9, 0.95), eps=1e-8,
                             **{arguments.optimizer: True})


def make_loss(model, recipe, device):
    def loss_of(inputs, targets):
        with torch.autocast(device, dtype=torch.bfloat16, enabled=recipe == "bf16"):
            logits = model(inputs)
        logits = logits.float().view(-1, logits.shape[-1])
        return functional.cross_entropy(logits, targets.reshape(-1))
    return loss_of


def device_bytes(device):
    """What the allocator took of the device at the peak; nothing on the CPU."""
    return {"peak_device_bytes": torch.cuda.max_memory_reserved()} if device == "cuda" else {}


def answer(**values):
    print(json.dumps(values), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--batches", required=True)
    parser.add_argument("--recipe", choices=("fp32", "tf32", "bf16"), default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--checkpoint", action="store_true",
                        help="keep the inputs of the blocks alone and run them again in backward")
    parser.add_argument("--threads", type=int, default=0, help="0: PyTorch's default")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--optimizer", choices=("fused", "foreach"), default="fused")
    arguments = parser.parse_args()
    if arguments.threads > 0:
        torch.set_num_threads(arguments.threads)
    if arguments.recipe == "tf32":
        torch.set_float32_matmul_precision("high")
    batches = safetensors.torch.load_file(arguments.batches)
    device = arguments.device
    inputs, targets = (batches[name].long().to(device) for name in ("inputs", "targets"))
    model = models.load(arguments.model).train().to(device)
    optimizer = optimizer_of(model, arguments)
    loss_of = make_loss(model, arguments.recipe, device)
    way = "eager"
    if arguments.compile:
        loss_of = torch.compile(loss_of, dynamic=False)
        way = "torch.compile"
    if arguments.checkpoint:
        models.checkpoint_blocks(model)
        way = "eager, checkpointed"
    answer(ready=f"PyTorch {torch.__version__} {way} {arguments.recipe}")
    step = 0
    for line in sys.stdin:
        for _ in range(int(line)):
            which = step % inputs.shape[0]
            start = time.perf_counter()
            loss = loss_of(inputs[which], targets[which])
            optimizer.zero_grad()
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            value = loss.item()
            seconds = time.perf_counter() - start
            step += 1
            answer(step=step, seconds=seconds, loss=value, gradient_norm=norm.item(),
                   peak_resident_bytes=peak_resident_bytes(), **device_bytes(device))


if __name__ == "__main__":
    main()
