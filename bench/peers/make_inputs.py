"""Makes what both sides of a comparison start from, once, from fixed seeds:

    DIR/model/              Hugging Face directory: config.json and random initial weights
    DIR/batches.safetensors int32 inputs and targets of [steps, B, T]

    python make_inputs.py MODEL DIR --batch B --length T --steps N
"""

import argparse
import pathlib

import safetensors.torch
import torch
import transformers

SEED = 20240301

transformers.utils.logging.disable_progress_bar()


def gpt2_124m():
    return transformers.GPT2Config(
        vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12,
        activation_function="gelu_pytorch_tanh", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)


def llama_60m():
    """The shape of examples/llama-60m.toml."""
    return transformers.LlamaConfig(
        vocab_size=32000, max_position_embeddings=1024, hidden_size=512, intermediate_size=1344,
        num_hidden_layers=10, num_attention_heads=8, num_key_value_heads=4, rope_theta=10000.0,
        rms_norm_eps=1e-5, tie_word_embeddings=False)


def gpt2_1_5b():
    """GPT-2 XL."""
    config = gpt2_124m()
    config.update({"n_positions": 4096, "n_embd": 1600, "n_layer": 48, "n_head": 25})
    return config


def llama_like(hidden, ffn, layers, heads, kv_heads):
    return transformers.LlamaConfig(
        vocab_size=151936, max_position_embeddings=4096, hidden_size=hidden, intermediate_size=ffn,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads,
        rope_theta=1000000.0, rms_norm_eps=1e-6, tie_word_embeddings=True)


def llama_0_5b():
    """The sizes of Qwen2.5 0.5B, without its biases."""
    return llama_like(896, 4864, 24, 14, 2)


def llama_1_5b():
    """The sizes of Qwen2.5 1.5B, without its biases."""
    return llama_like(1536, 8960, 28, 12, 2)


MODELS = {"gpt2-124m": gpt2_124m, "llama-60m": llama_60m, "gpt2-1.5b": gpt2_1_5b,
          "llama-0.5b": llama_0_5b, "llama-1.5b": llama_1_5b}


def batches(vocabulary, steps, batch, length):
    """Token frequencies as in text (Zipf), half of the tokens following from the one before."""
    generator = torch.Generator().manual_seed(SEED)
    weights = 1.0 / torch.arange(1, vocabulary + 1, dtype=torch.float64)
    shape = (steps, batch, length + 1)
    count = shape[0] * shape[1] * shape[2]
    tokens = torch.multinomial(weights, count, True, generator=generator).reshape(shape)
    follows = torch.rand(shape, generator=generator) < 0.5
    for t in range(length):
        preferred = (tokens[:, :, t] * 5 + 3) % vocabulary
        tokens[:, :, t + 1] = torch.where(follows[:, :, t], preferred, tokens[:, :, t + 1])
    tokens = tokens.to(torch.int32)
    return {"inputs": tokens[:, :, :-1].contiguous(), "targets": tokens[:, :, 1:].contiguous()}


def make(config, directory, steps, batch, length):
    torch.manual_seed(SEED)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(directory / "model")
    safetensors.torch.save_file(batches(config.vocab_size, steps, batch, length),
                                directory / "batches.safetensors")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--length", type=int, required=True)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    make(MODELS[arguments.model](), arguments.directory, arguments.steps, arguments.batch,
         arguments.length)


if __name__ == "__main__":
    main()
