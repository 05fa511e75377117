#include "ops/cases.h"

#include <cmath>

#include <fmt/ranges.h>

#include "kernels/elementwise_ops.h"

namespace bessemer::testing {
namespace {

DType sums(DType dtype) { return dtype == DType::fp64 ? DType::fp64 : DType::fp32; }

// Operand makers. A seed tells the operands of one use apart.
Tensor activation(DType t, Shape shape, std::uint64_t seed) {
  return normal({t, std::move(shape)}, seed);
}
Tensor statistic(DType t, Shape shape, std::uint64_t seed) {
  return normal({sums(t), std::move(shape)}, seed);
}
Tensor ids(Shape shape, std::int64_t low, std::int64_t high) {
  return integers({DType::int32, std::move(shape)}, 77, low, high);
}
// What quantizing takes.
DType fp32_or_bf16(DType t) { return t == DType::bf16 ? DType::bf16 : DType::fp32; }
// Of what stands for standard normal values: fp8 with its scale, both as operands.
void push_fp8(Operands& operands, Shape shape, std::uint64_t seed, const char* format,
              const std::string& block) {
  const Tensor x = normal({DType::fp32, std::move(shape)}, seed);
  Operands of{x};
  if (block == "tensor") of.emplace_back(run_reference("amax", {x})[0]);
  auto results =
      run_reference("quantize_fp8", of, {{"format", std::string(format)}, {"block", block}});
  operands.emplace_back(std::move(results[0]));
  operands.emplace_back(std::move(results[1]));
}
Tensor counter() { return of({DType::int64, {3}}, {123456789, 17, 2}); }

class Table {
 public:
  void add(std::string op, Attributes attributes, std::function<Operands(DType)> operands) {
    cases_.push_back({std::move(op), std::move(attributes), std::move(operands)});
  }
  /// Operands are activations of these shapes.
  void add(std::string op, Attributes attributes, std::vector<Shape> shapes) {
    add(std::move(op), std::move(attributes), [shapes = std::move(shapes)](DType t) {
      Operands operands;
      for (std::size_t i = 0; i < shapes.size(); ++i) {
        operands.emplace_back(activation(t, shapes[i], i + 1));
      }
      return operands;
    });
  }
  std::vector<OpCase> take() { return std::move(cases_); }

 private:
  std::vector<OpCase> cases_;
};

void add_matmul(Table& table) {
  for (const bool ta : {false, true}) {
    for (const bool tb : {false, true}) {
      const Attributes flags{{"transpose_a", ta}, {"transpose_b", tb}};
      const auto matrices = [&](Shape lead, std::int64_t m, std::int64_t n, std::int64_t k) {
        Shape a = lead, b = lead;
        a.insert(a.end(), {ta ? k : m, ta ? m : k});
        b.insert(b.end(), {tb ? n : k, tb ? k : n});
        return std::vector<Shape>{a, b};
      };
      table.add("matmul", flags, matrices({}, 6, 8, 4));
      table.add("matmul", flags, matrices({}, 17, 33, 65));
      table.add("matmul", flags, matrices({2, 4}, 6, 8, 10));
      if (!ta) {
        auto shared = matrices({}, 6, 8, 10);
        shared[0] = {2, 4, 6, 10};
        table.add("matmul", flags, shared);
      }
    }
  }
  table.add("matmul", {{"dtype", std::string("fp32")}}, {{6, 4}, {4, 8}});
  const auto with_bias = [](DType t) {
    return Operands{activation(t, {2, 6, 4}, 1), activation(t, {4, 8}, 2), statistic(t, {8}, 3)};
  };
  table.add("matmul", {}, with_bias);
  for (const auto* name : {"gelu_tanh", "gelu", "silu"}) {
    table.add("matmul", {{"activation", std::string(name)}}, with_bias);
  }
  table.add("matmul", {}, [](DType t) {
    return Operands{activation(t, {2, 6, 4}, 1), activation(t, {4, 8}, 2), std::nullopt,
                    activation(t, {2, 6, 8}, 4)};
  });
  table.add("matmul", {{"activation", std::string("gelu_tanh_grad")}}, [](DType t) {
    return Operands{activation(t, {2, 6, 4}, 1), activation(t, {4, 8}, 2), std::nullopt,
                    std::nullopt, activation(t, {2, 6, 8}, 4)};
  });
  table.add("matmul", {{"transpose_b", true}}, [](DType t) {
    return Operands{activation(t, {2, 6, 4}, 1), activation(t, {8, 4}, 2), statistic(t, {8}, 3),
                    activation(t, {2, 6, 8}, 4)};
  });
  const Attributes of_weight{
      {"row_sums", true}, {"transpose_a", true}, {"dtype", std::string("fp32")}};
  for (const std::int64_t m : {6, 16}) {
    table.add("matmul", {{"row_sums", true}}, {{m, 4}, {4, 8}});
    table.add("matmul", of_weight, {{70, m}, {70, 8}});
    table.add("matmul", of_weight, [m](DType t) {
      return Operands{activation(t, {4, m}, 1), activation(t, {4, 8}, 2), std::nullopt,
                      normal({DType::fp32, {m, 8}}, 3)};
    });
  }
}

void add_elementwise(Table& table) {
  for (const auto* op : {"add", "multiply"}) {
    for (const Shape& b : {Shape{2, 6, 8}, Shape{6, 8}, Shape{8}, Shape{}}) {
      table.add(op, {}, {{2, 6, 8}, b});
    }
    table.add(op, {}, {{3, 67}, {67}});
    table.add(op, {}, [](DType t) {
      return Operands{activation(t, {4, 6}, 1), statistic(t, {6}, 2)};
    });
  }
  table.add("scale", {{"factor", -0.3}}, {{4, 6}});
  table.add("scale", {{"factor", 2.5}}, {{1037}});
  for (const auto* dtype : {"fp64", "fp32", "bf16", "fp16"}) {
    table.add("cast", {{"dtype", std::string(dtype)}}, {{4, 38}});
  }
  for (const auto* how : {"tanh", "none"}) {
    table.add("gelu", {{"approximate", std::string(how)}}, {{4, 38}});
    table.add("gelu_grad", {{"approximate", std::string(how)}}, {{4, 38}, {4, 38}});
  }
  table.add("quantize_blocks", {}, {{4, 38}});
  table.add("quantize_blocks", {}, {{2, 3, 64}});
  for (const auto* dtype : {"fp64", "fp32", "bf16", "fp16"}) {
    table.add("dequantize_blocks", {{"dtype", std::string(dtype)}}, [](DType t) {
      return Operands{run_reference("quantize_blocks", {activation(t, {4, 38}, 1)})[0]};
    });
  }
  table.add("silu", {}, {{4, 38}});
  table.add("silu_grad", {}, {{4, 38}, {4, 38}});
  table.add("swiglu", {}, {{4, 38}, {4, 38}});
  table.add("swiglu_grad", {}, {{4, 38}, {4, 38}, {4, 38}});
  table.add("fused",
            {{"program",
              std::string("t0 = multiply x0 x1; t1 = gelu_tanh t0; t2 = add t1 x2; return t2")}},
            {{4, 38}, {38}, {}});
  table.add("fused",
            {{"program", std::string("t0 = silu x0; t1 = subtract t0 x1; t2 = scale t1 0.5; "
                                     "t3 = gelu_grad t2 x0; return t2 t3")}},
            {{2, 4, 70}, {2, 4, 70}});
}

void add_quantize_fp8(Table& table) {
  const auto x = [](Shape shape) {
    return [shape = std::move(shape)](DType t) {
      return Operands{activation(fp32_or_bf16(t), shape, 1)};
    };
  };
  table.add("amax", {}, x({3, 67}));
  table.add("amax", {}, x({}));
  for (const char* program : {kernels::elementwise::kSwiglu, kernels::elementwise::kGeluTanhGrad}) {
    table.add("amax", {{"program", std::string(program)}}, [](DType t) {
      const DType dtype = fp32_or_bf16(t);
      return Operands{activation(dtype, {130, 80}, 1), activation(dtype, {130, 80}, 2)};
    });
  }
  for (const char* format : {"e4m3", "e5m2"}) {
    for (const bool more : {false, true}) {
      const auto attributes = [&](const char* block) {
        return Attributes{{"format", std::string(format)},
                          {"block", std::string(block)},
                          {"transposed", more},
                          {"measure", more}};
      };
      table.add("quantize_fp8", attributes("tensor"), [](DType t) {  // saturates beyond 2
        return Operands{activation(fp32_or_bf16(t), {2, 3, 38}, 1), of({DType::fp32, {}}, {2})};
      });
      table.add("quantize_fp8", attributes("tensor"), [](DType t) {
        return Operands{activation(fp32_or_bf16(t), {48, 80}, 1), of({DType::fp32, {}}, {5})};
      });
      table.add("quantize_fp8", attributes("1x128"), x({2, 128, 256}));
      table.add("quantize_fp8", attributes("128x128"), x({256, 128}));
    }
  }
  table.add("quantize_fp8", {{"format", std::string("e4m3")}, {"block", std::string("1x128")}},
            x({6, 128}));
  table.add("quantize_fp8",
            {{"format", std::string("e4m3")}, {"block", std::string("1x128")}, {"sum", true}},
            x({2, 67, 128}));
  for (const std::int64_t index : {0, 2}) {  // an amax that is known, and one that is not
    table.add("quantize_fp8",
              {{"format", std::string("e5m2")},
               {"block", std::string("tensor")},
               {"indices", std::vector<std::int64_t>{index}},
               {"assumed", 0.5},
               {"measure", true}},
              [](DType t) {
                return Operands{activation(fp32_or_bf16(t), {48, 80}, 1),
                                of({DType::fp32, {3}}, {3, 1, 0})};
              });
  }
}

void add_amax_history(Table& table) {
  const TensorType scalar{DType::fp32, {}};
  const auto amax = [](double value) { return of({DType::fp32, {1}}, {value}); };
  const Attributes size{{"size", std::int64_t{3}}};
  table.add("collect_amax", size, [=](DType) {
    return Operands{std::nullopt, of({DType::fp32, {3}}, {1, 2, 0}), std::nullopt, amax(0.5)};
  });
  table.add("collect_amax", size, [=](DType) {
    return Operands{of({DType::fp32, {3}}, {1, 2, 3}), amax(2), amax(1), amax(4)};
  });
  for (const double coefficient : {0.5, std::nan("")}) {
    table.add("amax_history", {}, [=](DType) {
      return Operands{of({DType::fp32, {2, 3}}, {1, 0, 5, 2, 0, 4}),
                      of({DType::fp32, {3}}, {1.5, 0, 3}), of(scalar, {coefficient})};
    });
  }
}

void add_scaled_matmul(Table& table) {
  const auto add = [&](const char* block_a, const char* block_b, const char* dtype, Shape a,
                       Shape b, const char* format_a, bool with_epilogue) {
    const Attributes attributes{{"block_a", std::string(block_a)},
                                {"block_b", std::string(block_b)},
                                {"dtype", std::string(dtype)}};
    table.add("scaled_matmul", attributes, [=](DType) {
      Operands operands;
      push_fp8(operands, a, 1, format_a, block_a);
      push_fp8(operands, b, 2, "e4m3", block_b);
      if (with_epilogue) {
        Shape y = a;
        y.back() = b[0];
        operands.emplace_back(normal({DType::fp32, {b[0]}}, 3));
        operands.emplace_back(normal({*parse_dtype(dtype), y}, 4));
      }
      return operands;
    });
  };
  add("tensor", "tensor", "fp32", {32, 48}, {16, 48}, "e4m3", false);
  add("tensor", "tensor", "bf16", {2, 6, 38}, {10, 38}, "e5m2", true);
  add("tensor", "tensor", "fp32", {2, 16, 64}, {80, 64}, "e5m2", true);
  add("1x128", "128x128", "bf16", {2, 3, 256}, {128, 256}, "e4m3", true);
  add("1x128", "1x128", "fp32", {16, 256}, {24, 256}, "e4m3", false);
  add("1x128", "1x128", "fp32", {16, 128}, {24, 128}, "e5m2", true);
  add("128x128", "1x128", "fp32", {128, 128}, {16, 128}, "e4m3", false);
}

void add_movement(Table& table) {
  table.add("reshape", {{"shape", Shape{4, 6, 2, 8}}}, {{4, 6, 16}});
  table.add("reshape", {{"shape", Shape{24, 16}}}, {{4, 6, 16}});
  table.add("transpose", {{"permutation", std::vector<std::int64_t>{0, 2, 1, 3}}}, {{2, 4, 6, 8}});
  table.add("transpose", {{"permutation", std::vector<std::int64_t>{2, 0, 1}}}, {{2, 6, 34}});
  table.add("slice",
            {{"dim", std::int64_t{1}}, {"begin", std::int64_t{2}}, {"end", std::int64_t{5}}},
            {{4, 7, 6}});
  table.add("slice",
            {{"dim", std::int64_t{0}}, {"begin", std::int64_t{0}}, {"end", std::int64_t{3}}},
            {{4, 6}});
  table.add("pad",
            {{"dim", std::int64_t{1}}, {"before", std::int64_t{1}}, {"after", std::int64_t{2}}},
            {{4, 7, 6}});
  table.add("concat", {{"dim", std::int64_t{1}}}, {{4, 3, 6}, {4, 2, 6}, {4, 1, 6}});
  table.add("concat", {{"dim", std::int64_t{0}}}, {{3}, {5}});
  table.add("reduce_sum", {{"dims", std::vector<std::int64_t>{0}}}, {{4, 6, 38}});
  table.add("reduce_sum", {{"dims", std::vector<std::int64_t>{0, 2}}}, {{4, 6, 8}});
  table.add("reduce_sum",
            {{"dims", std::vector<std::int64_t>{0, 1}}, {"dtype", std::string("fp32")}}, {{4, 70}});
  table.add("broadcast", {{"shape", Shape{4, 6, 8}}, {"dims", std::vector<std::int64_t>{0, 2}}},
            {{6}});
  table.add("broadcast", {{"shape", Shape{4, 6}}, {"dims", std::vector<std::int64_t>{0, 1}}},
            std::vector<Shape>{Shape{}});
  table.add("fill", {{"shape", Shape{4, 6}}, {"dtype", std::string("fp32")}, {"value", 0.25}},
            std::vector<Shape>{});
}

void add_embedding(Table& table) {
  // Ids that repeat and some outside the table.
  table.add("embedding", {}, [](DType t) {
    return Operands{activation(t, {10, 38}, 1), ids({2, 6}, -1, 11)};
  });
  table.add("embedding", {{"dtype", std::string("bf16")}}, [](DType t) {
    return Operands{activation(t, {10, 8}, 1), ids({4}, 0, 10)};
  });
  table.add("embedding", {{"first", std::int64_t{4}}}, [](DType t) {
    return Operands{activation(t, {5, 8}, 1), ids({2, 6}, 0, 11), activation(t, {2, 6, 8}, 3)};
  });
  table.add("embedding_grad", {{"rows", std::int64_t{5}}, {"first", std::int64_t{4}}}, [](DType t) {
    return Operands{activation(t, {2, 6, 8}, 1), ids({2, 6}, 0, 11), statistic(t, {5, 8}, 3)};
  });
  const Attributes rows{{"rows", std::int64_t{10}}};
  table.add("embedding_grad", rows, [](DType t) {
    return Operands{activation(t, {2, 6, 38}, 1), ids({2, 6}, -1, 11)};
  });
  table.add("embedding_grad", rows, [](DType t) {
    return Operands{activation(t, {2, 6, 8}, 1), ids({2, 6}, 0, 10), statistic(t, {10, 8}, 3)};
  });
}

void add_norms(Table& table) {
  const Attributes epsilon{{"epsilon", 1e-5}};
  for (const std::int64_t hidden : {8, 67, 256}) {
    const Shape shape{2, 6, hidden}, vector{hidden};
    table.add("rms_norm", epsilon, [=](DType t) {
      return Operands{activation(t, shape, 1), statistic(t, vector, 2)};
    });
    table.add("layer_norm", epsilon, [=](DType t) {
      return Operands{activation(t, shape, 1), statistic(t, vector, 2), statistic(t, vector, 3)};
    });
    table.add("layer_norm", epsilon, [=](DType t) {
      return Operands{activation(t, shape, 1), activation(t, vector, 2)};
    });
    Attributes measured = epsilon;
    measured.set("measure", true);
    table.add("rms_norm", measured, [=](DType t) {
      return Operands{activation(t, shape, 1), statistic(t, vector, 2)};
    });
    for (const bool centred : {false, true}) {
      table.add("norm_statistics", {{"epsilon", 1e-5}, {"centred", centred}}, {shape});
    }
    for (const bool with_addend : {false, true}) {
      const auto addend = [=](DType t) {
        return with_addend ? std::optional(activation(t, shape, 5)) : std::nullopt;
      };
      table.add("rms_norm_grad", {{"measure", with_addend}}, [=](DType t) {
        const Tensor x = activation(t, shape, 1), gain = statistic(t, vector, 2);
        const auto y = run_reference("rms_norm", {x, gain}, epsilon);
        return Operands{activation(t, shape, 4), x, gain, y[1], addend(t)};
      });
      table.add("layer_norm_grad", {{"measure", with_addend}}, [=](DType t) {
        const Tensor x = activation(t, shape, 1), gain = statistic(t, vector, 2);
        const auto y = run_reference("layer_norm", {x, gain}, epsilon);
        return Operands{activation(t, shape, 4), x, gain, y[1], y[2], addend(t)};
      });
    }
  }
}

void add_rope(Table& table) {
  const auto operands = [](DType t) {
    return Operands{activation(t, {2, 6, 4, 16}, 1), ids({2, 6}, 0, 100)};
  };
  table.add("rope", {{"theta", 10000.0}}, operands);
  table.add("rope", {{"theta", 10000.0}, {"inverse", true}}, operands);
  table.add("rope",
            {{"theta", 500000.0},
             {"scaling", std::string("llama3")},
             {"factor", 8.0},
             {"low_frequency_factor", 1.0},
             {"high_frequency_factor", 4.0},
             {"original_context", std::int64_t{64}}},
            operands);
  table.add("rope",
            {{"theta", 10000.0},
             {"scaling", std::string("yarn")},
             {"factor", 4.0},
             {"original_context", std::int64_t{32}}},
            operands);
}

Tensor visibility(std::int64_t batch, std::int64_t queries) {
  Tensor interval({DType::int32, {batch, queries, 2}});
  for (std::int64_t i = 0; i < batch * queries; ++i) {
    const std::int64_t t = i % queries;
    interval.set(2 * i, static_cast<double>(t / 3 * 3));               // documents of three tokens
    interval.set(2 * i + 1, static_cast<double>(t == 0 ? 0 : t + 1));  // the first sees nothing
  }
  return interval;
}

struct AttentionShape {
  std::int64_t queries, keys, heads, key_heads, head_size;
};

void add_attention(Table& table, const AttentionShape& s, const Attributes& attributes,
                   bool with_visibility, bool with_counter) {
  const auto forward = [=](DType t) {
    return Operands{activation(t, {2, s.queries, s.heads, s.head_size}, 1),
                    activation(t, {2, s.keys, s.key_heads, s.head_size}, 2),
                    activation(t, {2, s.keys, s.key_heads, s.head_size}, 3),
                    with_visibility ? std::optional(visibility(2, s.queries)) : std::nullopt,
                    with_counter ? std::optional(counter()) : std::nullopt};
  };
  table.add("attention", attributes, forward);
  table.add("attention_grad", attributes, [=](DType t) {
    const Operands x = forward(t);
    const auto y = run_reference("attention", x, attributes);
    return Operands{activation(t, y[0].type().shape, 4), x[0], x[1], x[2], y[0], y[1], x[3], x[4]};
  });
}

void add_attention(Table& table) {
  const Attributes plain{{"scale", 0.25}};
  const Attributes causal{{"scale", 0.25}, {"causal", true}};
  add_attention(table, {6, 6, 4, 4, 8}, plain, false, false);
  add_attention(table, {6, 6, 4, 2, 8}, causal, false, false);
  add_attention(table, {35, 35, 4, 2, 16}, causal, false, false);
  add_attention(table, {70, 70, 2, 2, 64}, causal, true, false);
  add_attention(table, {4, 9, 4, 2, 8}, causal, false, false);
  Attributes window = causal, drops = causal;
  window.set("window", std::int64_t{3});
  add_attention(table, {9, 9, 4, 2, 8}, window, true, false);
  drops.set("dropout", 0.25);
  drops.set("site", std::int64_t{5});
  add_attention(table, {6, 6, 4, 2, 8}, drops, false, true);
}

void add_cross_entropy(Table& table) {
  const Attributes chunk{{"chunk", std::int64_t{4}}};
  const auto layer = [](DType t) {
    return Operands{activation(t, {10, 16}, 1), activation(t, {22, 16}, 2), ids({10}, -1, 22)};
  };
  table.add("linear_cross_entropy", chunk, layer);
  const auto dloss = [](DType t) { return of({sums(t), {}}, {0.125}); };
  for (const bool with_addend : {false, true}) {
    const auto addend = [=](DType t) {
      return with_addend ? std::optional(statistic(t, {22, 16}, 5)) : std::nullopt;
    };
    table.add("linear_cross_entropy_grad", chunk, [=](DType t) {
      const Operands x = layer(t);
      const auto y = run_reference("linear_cross_entropy", x, chunk);
      return Operands{dloss(t), x[0], x[1], x[2], y[1], addend(t)};
    });
    table.add("linear_cross_entropy_train", chunk, [=](DType t) {
      const Operands x = layer(t);
      return Operands{dloss(t), x[0], x[1], x[2], addend(t)};
    });
  }
}

void add_training(Table& table) {
  const Attributes drop{{"probability", 0.3}, {"site", std::int64_t{9}}};
  table.add("dropout", drop, [](DType t) {
    return Operands{activation(t, {6, 39}, 1), counter()};
  });
  table.add("global_norm", {}, {{6, 39}, {}, {1030}});
  table.add("clip_coefficient", {{"max_norm", 1.0}}, [](DType t) {
    return Operands{of({sums(t), {}}, {3.5}), of({sums(t), {}}, {2})};
  });
  table.add("clip_coefficient", {{"max_norm", 1.0}}, [](DType t) {
    return Operands{of({sums(t), {}}, {3.5}), of({sums(t), {}}, {2}),
                    of({DType::fp32, {3}}, {1, 2, 3})};
  });
  table.add("count_step", {}, [](DType t) {
    return Operands{of({DType::int64, {}}, {41}), of({sums(t), {}}, {0.5})};
  });
  table.add("add_loss", {}, [](DType t) { return Operands{of({sums(t), {}}, {2.5})}; });
  table.add("add_loss", {}, [](DType t) {
    return Operands{of({sums(t), {}}, {2.5}), of({DType::fp64, {}}, {1e9 + 0.125})};
  });
  table.add("mean_loss", {}, [](DType) {
    return Operands{of({DType::fp64, {}}, {1e9 + 0.125}), of({DType::fp64, {}}, {1.0 / 3})};
  });
  const Attributes adamw{{"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}, {"weight_decay", 0.1}};
  const auto adamw_operands = [](DType t) {
    Tensor v = statistic(t, {6, 38}, 4);
    for (std::int64_t i = 0; i < v.size(); ++i) v.set(i, v.get(i) * v.get(i));
    return Operands{
        statistic(t, {6, 38}, 1),  statistic(t, {6, 38}, 2),    statistic(t, {6, 38}, 3), v,
        of({sums(t), {}}, {1e-3}), of({DType::int64, {}}, {7}), of({sums(t), {}}, {0.5})};
  };
  table.add("adamw_update", adamw, adamw_operands);
  Attributes with_weight = adamw;
  with_weight.set("weight", std::string("bf16"));
  table.add("adamw_update", with_weight, adamw_operands);
  Attributes of_two = with_weight;
  of_two.set("decays", std::vector<std::int64_t>{1, 0});
  of_two.set("weights", std::vector<std::int64_t>{0, 1});
  table.add("adamw_update_all", of_two, [adamw_operands](DType t) {
    const Operands one = adamw_operands(t);
    Operands all(one.begin() + 4, one.end());
    for (int i = 0; i < 2; ++i) all.insert(all.end(), one.begin(), one.begin() + 4);
    return all;
  });
  Attributes rounded = adamw;
  rounded.set("seed", 5);
  const auto rounded_operands = [adamw_operands](DType) {
    Operands operands = adamw_operands(DType::fp32);
    operands[0] = normal({DType::bf16, {6, 38}}, 1);
    return operands;
  };
  Attributes rounded_one = rounded;
  rounded_one.set("site", 2);
  rounded_one.set("first", 32768);
  table.add("adamw_update", rounded_one, rounded_operands);
  rounded.set("decays", std::vector<std::int64_t>{1, 0});
  rounded.set("weights", std::vector<std::int64_t>{0, 0});
  rounded.set("sites", std::vector<std::int64_t>{4, 1});
  table.add("adamw_update_all", rounded, [rounded_operands](DType t) {
    const Operands one = rounded_operands(t);
    Operands all(one.begin() + 4, one.end());
    for (int i = 0; i < 2; ++i) all.insert(all.end(), one.begin(), one.begin() + 4);
    return all;
  });
  table.add("add_all", {}, [](DType t) {
    const Shape shapes[] = {{768}, {3, 7}, {}, {1030}};
    Operands pairs;
    for (int i = 0; i < 8; ++i) pairs.push_back(statistic(t, shapes[i / 2], i));
    return pairs;
  });
  table.add("sum_of_squares", {}, {{6, 39}});
  table.add("norm_of_sums", {}, [](DType) {
    return Operands{of({DType::fp64, {3}}, {1.5, 2, 3}), of({DType::fp64, {1}}, {0.25})};
  });
  table.add("fetch", {}, {{6, 39}});
  table.add("fetch", {{"begin", 5}, {"end", 77}}, {{6, 39}});
  table.add("store", {}, {{6, 39}});
  table.add("store", {{"begin", 5}}, {{3, 7}, {6, 39}});
  const auto part = [](const char* name, std::int64_t begin, std::int64_t end) {
    Attributes attributes{{"part", std::string(name)}, {"begin", begin}};
    if (end > 0) attributes.set("end", end);
    return attributes;
  };
  for (const char* name : {"none", "gelu"}) {
    Attributes columns = part("columns", 4, 0);
    columns.set("activation", std::string(name));
    table.add("matmul_tile", columns, [](DType t) {
      return Operands{activation(t, {2, 3, 10}, 1), activation(t, {6, 10}, 2),
                      statistic(t, {15}, 3), activation(t, {2, 3, 15}, 4),
                      activation(t, {2, 3, 15}, 5)};
    });
  }
  table.add("matmul_tile", part("columns", 0, 0), [](DType t) {
    return Operands{activation(t, {6, 10}, 1), activation(t, {5, 10}, 2), std::nullopt,
                    std::nullopt, statistic(t, {6, 5}, 5)};
  });
  table.add("matmul_tile", part("depth", 3, 0), {{2, 5, 11}, {6, 8}});
  table.add("matmul_tile", part("depth", 3, 0), [](DType t) {
    return Operands{activation(t, {2, 5, 11}, 1), activation(t, {6, 8}, 2), std::nullopt,
                    statistic(t, {2, 5, 8}, 4)};
  });
  table.add("matmul_tile", part("rows", 3, 9), {{6, 11}, {6, 8}});
  table.add("matmul_tile", part("rows", 3, 9), [](DType t) {
    return Operands{statistic(t, {6, 11}, 1), activation(t, {6, 8}, 2), std::nullopt,
                    statistic(t, {6, 8}, 4)};
  });
  const auto logits = [](DType t) { return statistic(t, {6, 9}, 1); };
  const auto before = [] { return of({DType::fp64, {}}, {1.5}); };
  table.add("cross_entropy_rows", {}, [=](DType t) {
    return Operands{logits(t), ids({6}, -1, 9)};
  });
  table.add("cross_entropy_rows", {}, [=](DType t) {
    return Operands{logits(t), ids({6}, -1, 9), before()};
  });
  table.add("cross_entropy_rows_train", {}, [=](DType t) {
    return Operands{logits(t), ids({6}, -1, 9), of({sums(t), {}}, {0.25}), before()};
  });
  table.add("cache_write", {}, [](DType t) {
    return Operands{activation(t, {2, 9, 4, 8}, 1), activation(t, {2, 3, 4, 8}, 2),
                    of({DType::int32, {2, 3}}, {0, 1, 2, 6, 4, 5})};
  });
}

}  // namespace

std::string OpCase::describe(DType dtype) const {
  std::vector<std::string> types;
  for (const auto& operand : operands(dtype)) {
    types.push_back(operand ? to_string(operand->type()) : "_");
  }
  return fmt::format("{} {} ({})", op, to_string(attributes), fmt::join(types, ", "));
}

std::span<const OpCase> all_cases() {
  static const std::vector<OpCase> cases = [] {
    Table table;
    add_matmul(table);
    add_elementwise(table);
    add_quantize_fp8(table);
    add_amax_history(table);
    add_scaled_matmul(table);
    add_movement(table);
    add_embedding(table);
    add_norms(table);
    add_rope(table);
    add_attention(table);
    add_cross_entropy(table);
    add_training(table);
    return table.take();
  }();
  return cases;
}

}  // namespace bessemer::testing
