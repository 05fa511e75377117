"""Trains the tiny models of tests/models/golden for 20 steps in PyTorch and writes, beside this
script, MODEL_PRECISION.safetensors with

    inputs        int32 [20,4,16]  token ids of each step
    targets       int32 [20,4,16]  the token after each input
    losses        fp64  [20]       mean over the 64 tokens of a step, before its update
    grad_norms    fp64  [20]       global L2 norm, before clipping
    norms.NAME    fp64  []         L2 norm of each parameter after the last update, by its Hugging
                                   Face name (a tied head is the embedding and not listed)

AdamW: learning rate 1e-3, betas 0.9 and 0.95, epsilon 1e-8, weight decay 0.1 on parameters of two
or more dimensions (embeddings too) and 0 on vectors; clip by global norm 1.0; no dropout. `fp32`
computes in fp32; `bf16` runs the forward pass under torch.autocast, with fp32 weights, and takes
the loss from the logits in fp32.

    python make_losses.py
"""

import pathlib
import platform

import safetensors.torch
import torch
import transformers
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
MODELS = HERE.parent.parent / "models" / "golden"
STEPS, BATCH, LENGTH, VOCABULARY = 20, 4, 16, 97
SEED = 20240301


def batches():
    """Random walks with a preferred next token, so that there is something to learn."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(0, VOCABULARY, (STEPS, BATCH, LENGTH + 1), generator=generator)
    follows = torch.rand((STEPS, BATCH, LENGTH), generator=generator) < 0.7
    for t in range(LENGTH):
        preferred = (tokens[:, :, t] * 5 + 3) % VOCABULARY
        tokens[:, :, t + 1] = torch.where(follows[:, :, t], preferred, tokens[:, :, t + 1])
    return tokens[:, :, :-1].contiguous(), tokens[:, :, 1:].contiguous()


def groups(model):
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]


def train(name, precision):
    model = AutoModelForCausalLM.from_pretrained(
        MODELS / name, attn_implementation="eager", dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(
        groups(model), lr=1e-3, betas=(0.9, 0.95), eps=1e-8, foreach=False)
    inputs, targets = batches()
    losses, grad_norms = [], []
    for step in range(STEPS):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            logits = model(inputs[step], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(
            logits.float().reshape(-1, VOCABULARY), targets[step].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        grad_norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
        optimizer.step()
        losses.append(loss.item())
    result = {
        "inputs": inputs.to(torch.int32),
        "targets": targets.to(torch.int32),
        "losses": torch.tensor(losses, dtype=torch.float64),
        "grad_norms": torch.tensor(grad_norms, dtype=torch.float64),
    }
    for key, parameter in model.named_parameters():
        result["norms." + key] = parameter.detach().double().norm()
    safetensors.torch.save_file(result, HERE / f"{name}_{precision}.safetensors")
    print(f"{name} {precision}: loss {losses[0]:.5f} -> {losses[-1]:.5f}, "
          f"gradient norm {min(grad_norms):.3f} to {max(grad_norms):.3f}")


def main():
    torch.set_num_threads(1)
    for name in ("gpt2", "llama_grouped_sharded"):
        for precision in ("fp32", "bf16"):
            train(name, precision)
    (HERE / "VERSIONS.txt").write_text(
        f"python {platform.python_version()}\ntorch {torch.__version__}\n"
        f"transformers {transformers.__version__}\n")


if __name__ == "__main__":
    main()
