"""What the peer tests share: the programs under test, and tiny random models."""

import importlib
import pathlib
import subprocess
import sys

import safetensors.torch
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench" / "peers"))

VOCABULARY = 211


def optional(name):
    """A module, or None where this Python has none of that name."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None



transformers.utils.logging.disable_progress_bar()


def run(*arguments, stdin=None, cwd=None):
    """Standard output, as bytes, of a program of build/; AssertionError with its messages."""
    program, *rest = [str(a) for a in arguments]
    done = subprocess.run([ROOT / "build" / program, *rest], input=stdin, cwd=cwd,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{program} {' '.join(rest)}: exit {done.returncode}\n"
                             + done.stderr.decode(errors="replace"))
    return done.stdout


def bessemer_logits(model, tokens, work):
    safetensors.torch.save_file({"tokens": tokens.to(torch.int32)}, work / "tokens.safetensors")
    run("peer_logits", model, work / "tokens.safetensors", work / "logits.safetensors")
    return safetensors.torch.load_file(work / "logits.safetensors")["logits"]


def transformers_logits(directory, tokens):
    model = transformers.AutoModelForCausalLM.from_pretrained(
        directory, attn_implementation="eager", dtype=torch.float32).eval()
    with torch.no_grad():
        return model(tokens, use_cache=False).logits


def random_tokens(seed, batch=2, length=24, vocabulary=VOCABULARY):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, vocabulary, (batch, length), generator=generator)


def gpt2(**changes):
    keys = dict(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=2, n_head=3,
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    return transformers.GPT2Config(**{**keys, **changes})


def llama(**changes):
    keys = dict(vocab_size=VOCABULARY, hidden_size=64, intermediate_size=88, num_hidden_layers=2,
                num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
                rms_norm_eps=1e-5, tie_word_embeddings=False, bos_token_id=0, eos_token_id=0,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0})
    return transformers.LlamaConfig(**{**keys, **changes})


LLAMA3_ROPE = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
               "high_freq_factor": 4.0, "original_max_position_embeddings": 128,
               "rope_theta": 500000.0}

CONFIGS = {
    "gpt2": gpt2(),
    "gpt2 untied, exact gelu": gpt2(tie_word_embeddings=False, activation_function="gelu"),
    "gpt2 one head": gpt2(n_embd=40, n_head=1, n_layer=3),
    "llama": llama(),
    "llama all heads": llama(num_key_value_heads=4),
    "llama tied": llama(tie_word_embeddings=True),
    "llama head_dim": llama(hidden_size=48, head_dim=24, num_key_value_heads=1),
    "llama biases": llama(attention_bias=True, mlp_bias=True),
    "llama rope linear": llama(rope_parameters={"rope_type": "linear", "factor": 2.0,
                                                "rope_theta": 10000.0}),
    "llama rope llama3": llama(rope_parameters=LLAMA3_ROPE, max_position_embeddings=1024),
}


def save_random_model(config, directory, seed):
    """Every parameter random, biases and gains too, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(directory)
