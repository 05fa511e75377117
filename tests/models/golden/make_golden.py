"""Makes tiny random models with transformers, one Hugging Face directory each, beside this script.

Each directory holds config.json, the weights, and golden.safetensors with `input_ids` (int32 [2,16])
and `logits` (fp32 [2,16,97]) as transformers computes them in fp32 with eager attention, from the
files as saved. Every parameter is random, biases and norm gains too, so that none can be left out
unnoticed. VERSIONS.txt says what made the data.

    python make_golden.py
"""

import json
import pathlib
import platform
import shutil

import numpy
import safetensors
import safetensors.torch
import torch
import transformers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen2Config

HERE = pathlib.Path(__file__).parent
VOCABULARY = 97
SEED = 20240229


def llama(**changes):
    keys = dict(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    keys.update(changes)
    return LlamaConfig(**keys)


def qwen2():
    return Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rms_norm_eps=1e-6,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    )


def gpt2(**changes):
    keys = dict(
        vocab_size=VOCABULARY,
        n_positions=32,
        n_embd=32,
        n_layer=2,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    keys.update(changes)
    return GPT2Config(**keys)


# Positions run to 15 only, so the original contexts are small: then some frequencies are kept,
# some scaled and some lie between.
ROPE_LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}
ROPE_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
    "rope_theta": 10000.0,
}
ROPE_YARN = {
    "rope_type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 32,
    "rope_theta": 10000.0,
}

CONFIGS = {
    "gpt2": gpt2(),
    "gpt2_hub_names": gpt2(),
    "gpt2_untied_exact_gelu": gpt2(tie_word_embeddings=False, activation_function="gelu"),
    "llama": llama(),
    "llama_tied": llama(tie_word_embeddings=True),
    "llama_grouped_sharded": llama(num_key_value_heads=2),
    "llama_rope_linear": llama(rope_parameters=ROPE_LINEAR),
    "llama_rope_llama3": llama(rope_parameters=ROPE_LLAMA3, max_position_embeddings=512),
    "llama_rope_yarn": llama(
        num_attention_heads=2, num_key_value_heads=1, rope_parameters=ROPE_YARN,
        max_position_embeddings=128),
    "llama_biases": llama(attention_bias=True, mlp_bias=True, num_key_value_heads=2),
    "llama_head_dim": llama(hidden_size=48, head_dim=16, num_key_value_heads=2),
    "qwen2_tied": qwen2(),
}


def randomise(model, generator):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim >= 2:
                parameter.copy_(0.15 * noise)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            else:  # a norm's gain
                parameter.copy_(1.0 + 0.1 * noise)


def to_classic_rope_keys(directory):
    """Rewrites config.json to `rope_theta` and `rope_scaling`, as most published models have it."""
    path = directory / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def to_hub_names(directory, positions):
    """Renames GPT-2's tensors as the original repository has them: no `transformer.` in front, and
    the causal mask of each layer stored as a tensor."""
    path = directory / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    renamed = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    for layer in range(2):
        mask = torch.tril(torch.ones(positions, positions)).view(1, 1, positions, positions)
        renamed[f"h.{layer}.attn.bias"] = mask.clone()
    safetensors.torch.save_file(renamed, path, metadata={"format": "pt"})


def save(name, config, generator):
    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    randomise(model, generator)
    shard = "60KB" if name.endswith("_sharded") else "1GB"
    model.save_pretrained(directory, max_shard_size=shard)
    (directory / "generation_config.json").unlink(missing_ok=True)
    if name in ("llama", "llama_rope_linear", "llama_rope_llama3"):
        to_classic_rope_keys(directory)
    if name == "gpt2_hub_names":
        to_hub_names(directory, config.n_positions)

    reread = AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation="eager", dtype=torch.float32).eval()
    for (key, a), (_, b) in zip(model.state_dict().items(), reread.state_dict().items()):
        assert torch.equal(a, b), f"{name}: {key} changed on its way through the files"
    input_ids = torch.randint(0, VOCABULARY, (2, 16), generator=generator)
    with torch.no_grad():
        logits = reread(input_ids, use_cache=False).logits
    golden = {"input_ids": input_ids.to(torch.int32), "logits": logits.float().contiguous()}
    safetensors.torch.save_file(golden, directory / "golden.safetensors")
    print(f"{name:24} logits: mean {logits.mean():+.4f}, deviation {logits.std():.4f}")


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    for name, config in CONFIGS.items():
        save(name, config, generator)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "safetensors": safetensors.__version__,
        "numpy": numpy.__version__,
    }
    text = "".join(f"{key} {value}\n" for key, value in versions.items())
    (HERE / "VERSIONS.txt").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
