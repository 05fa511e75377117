"""Writes the safetensors files beside this script with Python's safetensors and NumPy/PyTorch.

Element i of tensor number t (in the order of DTYPES) is (i * 7 + t) % 13 - 6, as the dtype holds
it; unsigned types hold its absolute value, bool whether it is odd.
"""

import pathlib

import torch
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent

DTYPES = [
    ("f64", torch.float64),
    ("f32", torch.float32),
    ("bf16", torch.bfloat16),
    ("f16", torch.float16),
    ("i64", torch.int64),
    ("i32", torch.int32),
    ("i8", torch.int8),
    ("u8", torch.uint8),
    ("bool", torch.bool),
]


def values(number, shape, dtype):
    count = 1
    for size in shape:
        count *= size
    raw = (torch.arange(count, dtype=torch.int64) * 7 + number) % 13 - 6
    if dtype == torch.uint8:
        raw = raw.abs()
    if dtype == torch.bool:
        raw = raw % 2
    return raw.to(dtype).reshape(shape)


def main():
    tensors = {name: values(t, (3, 5), dtype) for t, (name, dtype) in enumerate(DTYPES)}
    save_file(tensors, HERE / "dtypes.safetensors", metadata={"format": "pt", "note": "a \"b\" é"})
    shapes = {
        "scalar": values(0, (), torch.float32),
        "empty": values(0, (2, 0, 3), torch.float32),
        "vector": values(0, (7,), torch.int8),
        "layers.0.名前": values(0, (2, 3, 4), torch.bfloat16),
    }
    save_file(shapes, HERE / "shapes.safetensors")


if __name__ == "__main__":
    main()
