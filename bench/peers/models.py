"""GPT-2 and Llama in plain PyTorch, as one would write them for speed: fused attention, no Python in
the inner loops. Parameters are read from a Hugging Face directory under its names."""

import json
import pathlib

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class GPT2Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden = config["n_embd"]
        self.heads = config["n_head"]
        self.ln_1 = nn.LayerNorm(hidden, config["layer_norm_epsilon"])
        self.attn = nn.ModuleDict(
            {"c_attn": nn.Linear(hidden, 3 * hidden), "c_proj": nn.Linear(hidden, hidden)})
        self.ln_2 = nn.LayerNorm(hidden, config["layer_norm_epsilon"])
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(hidden, 4 * hidden), "c_proj": nn.Linear(4 * hidden, hidden)})

    def forward(self, x):
        batch, length, hidden = x.shape
        q, k, v = (part.view(batch, length, self.heads, -1).transpose(1, 2)
                   for part in self.attn["c_attn"](self.ln_1(x)).split(hidden, dim=2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn["c_proj"](y.transpose(1, 2).reshape(batch, length, hidden))
        y = functional.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh")
        return x + self.mlp["c_proj"](y)


class GPT2(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.wte = nn.Embedding(config["vocab_size"], config["n_embd"])
        self.wpe = nn.Embedding(config["n_positions"], config["n_embd"])
        self.h = nn.ModuleList(GPT2Block(config) for _ in range(config["n_layer"]))
        self.ln_f = nn.LayerNorm(config["n_embd"], config["layer_norm_epsilon"])

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe.weight[:tokens.shape[1]]
        for block in self.h:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)

    @staticmethod
    def parameter(name, tensors):
        tensor = tensors["transformer." + name]
        conv1d = name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))
        return tensor.t() if conv1d else tensor  # Conv1D keeps [in, out]


class LlamaBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        hidden, ffn = config["hidden_size"], config["intermediate_size"]
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        kv = hidden // self.heads * self.kv_heads
        self.input_layernorm = nn.RMSNorm(hidden, config["rms_norm_eps"])
        self.self_attn = nn.ModuleDict({
            "q_proj": nn.Linear(hidden, hidden, bias=False),
            "k_proj": nn.Linear(hidden, kv, bias=False),
            "v_proj": nn.Linear(hidden, kv, bias=False),
            "o_proj": nn.Linear(hidden, hidden, bias=False)})
        self.post_attention_layernorm = nn.RMSNorm(hidden, config["rms_norm_eps"])
        self.mlp = nn.ModuleDict({
            "gate_proj": nn.Linear(hidden, ffn, bias=False),
            "up_proj": nn.Linear(hidden, ffn, bias=False),
            "down_proj": nn.Linear(ffn, hidden, bias=False)})

    def forward(self, x, cosine, sine):
        batch, length, hidden = x.shape
        y = self.input_layernorm(x)
        q, k, v = (self.self_attn[name](y).view(batch, length, heads, -1).transpose(1, 2)
                   for name, heads in (("q_proj", self.heads), ("k_proj", self.kv_heads),
                                       ("v_proj", self.kv_heads)))
        y = functional.scaled_dot_product_attention(
            rotate(q, cosine, sine), rotate(k, cosine, sine), v, is_causal=True, enable_gqa=True)
        x = x + self.self_attn["o_proj"](y.transpose(1, 2).reshape(batch, length, hidden))
        y = self.post_attention_layernorm(x)
        y = functional.silu(self.mlp["gate_proj"](y)) * self.mlp["up_proj"](y)
        return x + self.mlp["down_proj"](y)


def rotate(x, cosine, sine):
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return turned.to(x.dtype)


class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = nn.ModuleList(
            LlamaBlock(config) for _ in range(config["num_hidden_layers"]))
        self.norm = nn.RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.lm_head = nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        size = config["hidden_size"] // config["num_attention_heads"]
        theta = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
        frequencies = theta ** (-torch.arange(0, size, 2).float() / size)
        positions = torch.arange(config["max_position_embeddings"]).float()
        angles = torch.outer(positions, frequencies)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def forward(self, tokens):
        x = self.embed_tokens(tokens)
        cosine, sine = self.cosine[:tokens.shape[1]], self.sine[:tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, cosine, sine)
        return self.lm_head(self.norm(x))

    @staticmethod
    def parameter(name, tensors):
        return tensors[name if name.startswith("lm_head") else "model." + name]


def blocks(model):
    return model.h if isinstance(model, GPT2) else model.layers


def checkpoint_blocks(model):
    """PyTorch's activation checkpointing of each block."""
    for block in blocks(model):
        forward = block.forward
        block.forward = lambda *x, forward=forward: checkpoint(forward, *x, use_reentrant=False)


def load(directory):
    """The model of a Hugging Face directory, in fp32."""
    directory = pathlib.Path(directory)
    config = json.loads((directory / "config.json").read_text())
    family = {"gpt2": GPT2, "llama": Llama}[config["model_type"]]
    model = family(config)
    tensors = safetensors.torch.load_file(directory / "model.safetensors")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(family.parameter(name, tensors))
    return model
