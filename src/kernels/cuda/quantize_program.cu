// The programs are compiled in, one type each: whole tiles wait for their scales, which takes
// barriers and shared memory that kernels written at planning (jit.h) do not have. The functions
// are those of such kernels, so the 8 bits are those of the tensor made apart.
//
// Of bf16, read and written: swiglu 4 + 2 bytes an element instead of 4 + 2 and 2 + 2; its
// gradients 6 + 4 instead of 6 + 4 and 4 + 4.
#include "kernels/cuda/quantize_program.h"

#include <optional>
#include <string>
#include <utility>

#include "kernels/cuda/activations.cuh"
#include "kernels/cuda/quantize_tile.cuh"
#include "kernels/elementwise_ops.h"

namespace bessemer::kernels::cuda {
namespace {

using namespace quantize;

enum class Direction { forward, backward };

// A program: y from x, one element of each.

struct Swiglu {
  static constexpr const char* kProgram = elementwise::kSwiglu;
  static constexpr Direction kDirection = Direction::forward;
  static __device__ void apply(const float (&x)[2], float (&y)[1]) {
    y[0] = activation::silu(x[0]) * x[1];
  }
};
struct SwigluGrad {
  static constexpr const char* kProgram = elementwise::kSwigluGrad;
  static constexpr Direction kDirection = Direction::backward;
  static __device__ void apply(const float (&x)[3], float (&y)[2]) {
    y[0] = activation::silu_grad(x[0] * x[2], x[1]);
    y[1] = x[0] * activation::silu(x[1]);
  }
};
struct GeluTanh {
  static constexpr const char* kProgram = elementwise::kGeluTanh;
  static constexpr Direction kDirection = Direction::forward;
  static __device__ void apply(const float (&x)[1], float (&y)[1]) {
    y[0] = activation::gelu_tanh(x[0]);
  }
};
struct GeluTanhGrad {
  static constexpr const char* kProgram = elementwise::kGeluTanhGrad;
  static constexpr Direction kDirection = Direction::backward;
  static __device__ void apply(const float (&x)[2], float (&y)[1]) {
    y[0] = activation::gelu_tanh_grad(x[0], x[1]);
  }
};
struct Gelu {
  static constexpr const char* kProgram = elementwise::kGelu;
  static constexpr Direction kDirection = Direction::forward;
  static __device__ void apply(const float (&x)[1], float (&y)[1]) {
    y[0] = activation::gelu(x[0]);
  }
};
struct GeluGrad {
  static constexpr const char* kProgram = elementwise::kGeluGrad;
  static constexpr Direction kDirection = Direction::backward;
  static __device__ void apply(const float (&x)[2], float (&y)[1]) {
    y[0] = activation::gelu_grad(x[0], x[1]);
  }
};

/// How many x and y a program has.
template <int kX, int kY>
struct Arity {
  static constexpr int kInputs = kX, kValues = kY;
};
template <int kX, int kY>
Arity<kX, kY> arity_of(void (*)(const float (&)[kX], float (&)[kY]));

/// Operands of the shape of the values.
template <typename Program>
struct Computed {
  using Type = BFloat16;
  using Counts = decltype(arity_of(&Program::apply));
  static constexpr Direction kDirection = Program::kDirection;
  static constexpr int kValues = Counts::kValues;
  const BFloat16* x[Counts::kInputs];

  static bool accepts(const KernelRequest& request, std::string_view program) {
    if (program != Program::kProgram) return false;
    for (int i = 0; i < Counts::kInputs; ++i) {
      if (request.operand(static_cast<std::size_t>(i)) != request.operand(0)) return false;
    }
    return request.operand(0).dtype == DType::bf16;
  }
  explicit Computed(const KernelBuffers& buffers) {
    for (int i = 0; i < Counts::kInputs; ++i) {
      x[i] = buffers.operand<BFloat16>(static_cast<std::size_t>(i));
    }
  }

  __device__ void load(const Place& place, MatrixSize size,
                       Value<BFloat16> (&values)[kValues]) const {
    for (int i = 0; i < kRows; ++i) {
      Run<BFloat16, kColumns> in[Counts::kInputs] = {}, out[kValues] = {};
      for (int k = 0; k < Counts::kInputs && place.exists(i, size); ++k) {
        in[k] = load_run<kColumns>(x[k] + place.offset(i, size));
      }
      for (int j = 0; j < kColumns; ++j) {
        float of[Counts::kInputs], to[kValues];
        for (int k = 0; k < Counts::kInputs; ++k) of[k] = to_float(in[k].at[j]);
        Program::apply(of, to);
        for (int v = 0; v < kValues; ++v) out[v].at[j] = to_bf16(to[v]);
      }
      for (int v = 0; v < kValues; ++v) values[v].set_row(i, out[v]);
    }
  }
};

/// A row of x with its mean (layer norm only) and 1 / its deviation, times a gain, plus a bias.
template <bool kCentred>
struct Normalised {
  using Type = BFloat16;
  static constexpr Direction kDirection = Direction::forward;
  static constexpr int kValues = 1;
  static constexpr std::size_t kOperands = kCentred ? 5 : 3;  // x, mean, rstd, gain, bias
  const BFloat16* x;
  const float* mean;
  const float* rstd;
  const float* gain;
  const float* bias;

  static bool accepts(const KernelRequest& request, std::string_view program) {
    if (program != (kCentred ? elementwise::kLayerNorm : elementwise::kRmsNorm)) return false;
    for (std::size_t i = 1; i < kOperands; ++i) {
      if (request.operand(i).dtype != DType::fp32) return false;
    }
    return request.operand(0).dtype == DType::bf16;
  }
  explicit Normalised(const KernelBuffers& buffers)
      : x(buffers.operand<BFloat16>(0)),
        mean(kCentred ? buffers.operand<float>(1) : nullptr),
        rstd(buffers.operand<float>(kCentred ? 2 : 1)),
        gain(buffers.operand<float>(kCentred ? 3 : 2)),
        bias(kCentred ? buffers.operand<float>(4) : nullptr) {}

  __device__ void load(const Place& place, MatrixSize size, Value<BFloat16> (&values)[1]) const {
    for (int i = 0; i < kRows; ++i) {
      Run<BFloat16, kColumns> row = {};
      if (place.exists(i, size)) {
        row = load_run<kColumns>(x + place.offset(i, size));
        const float centre = kCentred ? mean[place.row(i)] : 0.0f, by = rstd[place.row(i)];
        for (int j = 0; j < kColumns; ++j) {
          const float shift = kCentred ? bias[place.column() + j] : 0.0f;
          const float normal = (to_float(row.at[j]) - centre) * by;
          row.at[j] = to_bf16(normal * gain[place.column() + j] + shift);
        }
      }
      values[0].set_row(i, row);
    }
  }
};

template <typename Format, typename Source>
Prepared prepare_source(void (*kernel)(Source, Targets<BFloat16, Format, Source::kValues>),
                        const Tiling& tiling) {
  return quantize::prepare<Format>(kernel, tiling,
                                   [](const KernelBuffers& buffers) { return Source(buffers); });
}

/// Each value of a block's tile, and its largest magnitude.
template <typename Source>
struct Measured {
  MatrixSize size;
  BFloat16* y[Source::kValues];
  Magnitude* parts[Source::kValues];
};

template <typename Source>
__global__ void __launch_bounds__(kThreads)
    measure_values(const Source source, const Measured<Source> to) {
  const Place place(to.size);
  ValuesOf<Source> values;
  load_values(source, place, to.size, values);
  for (int v = 0; v < Source::kValues; ++v) {
    store_value(to.y[v], place, to.size, values[v]);
    const Magnitude largest = block_max(values[v].own().largest(), Magnitude{0});
    if (threadIdx.x == 0) to.parts[v][blockIdx.x] = largest;
  }
}

template <typename Source>
Prepared prepare_measure(MatrixSize size) {
  const std::int64_t tiles = fp8_tiles(size);
  const auto run = [=](const KernelBuffers& buffers) {
    Measured<Source> to{size, {}, {}};
    for (std::size_t v = 0; v < Source::kValues; ++v) {
      to.y[v] = buffers.result<BFloat16>(v);
      to.parts[v] = static_cast<Magnitude*>(buffers.scratch) + static_cast<std::int64_t>(v) * tiles;
    }
    launch(measure_values<Source>, Grid{tiles, 1, 1, kThreads, kSharedBytes<Source>},
           buffers.stream, Source(buffers), to);
    for (std::size_t v = 0; v < Source::kValues; ++v) {
      launch_largest_of(to.parts[v], tiles, buffers.result<float>(Source::kValues + v),
                        buffers.stream);
    }
  };
  return make_kernel(run, float_bytes(Source::kValues * tiles));
}

template <typename Source>
Prepared prepare_quantize(const KernelRequest& request, const Tiling& tiling) {
  constexpr bool kBackward = Source::kDirection == Direction::backward;
  using WithOneScale = std::conditional_t<kBackward, Fp8E5M2, Fp8E4M3>;
  const bool one_scale = tiling.use.block == Fp8Block::tensor;
  const DType format = request.results[tiling.use.q(0)].dtype;
  if (format != (one_scale && kBackward ? DType::fp8_e5m2 : DType::fp8_e4m3)) {
    return Declined{"gradients with one scale in E4M3, or others in E5M2"};
  }
  if (one_scale) {
    return prepare_source<WithOneScale>(quantize_tensor<Source, WithOneScale, true>, tiling);
  }
  return prepare_source<Fp8E4M3>(quantize_rows<Source, Fp8E4M3, true>, tiling);
}

template <typename... All>
struct Sources {};
using Activations = Sources<Computed<Swiglu>, Computed<SwigluGrad>, Computed<GeluTanh>,
                            Computed<GeluTanhGrad>, Computed<Gelu>, Computed<GeluGrad>>;
using Norms = Sources<Normalised<false>, Normalised<true>>;

/// What prepare.operator()<Source>() makes for the Source that does what the program does; nothing
/// where none does.
template <typename... All, typename Prepare>
std::optional<Prepared> of_program(Sources<All...>, const KernelRequest& request,
                                   const Prepare& prepare) {
  const std::string program = request.attributes.text("program");
  std::optional<Prepared> prepared;
  const auto offer = [&]<typename Source>() {
    if (Source::accepts(request, program)) prepared = prepare.template operator()<Source>();
  };
  (offer.template operator()<All>(), ...);
  return prepared;
}

Declined unknown_program() {
  return Declined{"a program, or operands, that this kernel does not have"};
}

}  // namespace

Prepared measure_program(const KernelRequest& request) {
  const MatrixSize size = matrix_size(request.operand(0));
  if (size.columns % kColumns != 0) return Declined{"rows that are no multiple of 16 elements"};
  auto prepared = of_program(Activations(), request,
                             [&]<typename Source>() { return prepare_measure<Source>(size); });
  return prepared ? std::move(*prepared) : unknown_program();
}

Prepared quantize_program(const KernelRequest& request) {
  const Tiling tiling{QuantizeFp8Use(request.attributes), matrix_size(request.operand(0))};
  if (!tiling.use.transposed) return Declined{"a program without the transpose"};
  if (tiling.use.block == Fp8Block::square) return Declined{"a program in squares"};
  if (tiling.size.columns % kColumns != 0 || tiling.size.rows % 16 != 0) {
    return Declined{"rows or columns that are no multiples of 16"};
  }
  const auto prepare = [&]<typename Source>() { return prepare_quantize<Source>(request, tiling); };
  auto prepared = of_program(Activations(), request, prepare);
  if (!prepared) prepared = of_program(Norms(), request, prepare);
  return prepared ? std::move(*prepared) : unknown_program();
}

}  // namespace bessemer::kernels::cuda
