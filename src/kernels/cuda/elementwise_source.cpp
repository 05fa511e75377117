#include "kernels/cuda/elementwise_source.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/rounding.h"
#include "kernels/cuda/activations_text.h"

namespace bessemer::kernels::cuda {
namespace {

using Kind = ElementwiseOperand::Kind;

// What every kernel has: elements as they lie in memory, and packs of kWidth of them.
constexpr std::string_view kElements = R"(
struct bf16 {
  unsigned short bits;
};

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(bf16 x) { return __uint_as_float((unsigned)x.bits << 16); }
__device__ inline void narrow(float x, float& to) { to = x; }
__device__ inline void narrow(float x, bf16& to) { to.bits = (unsigned short)pack_bf16(x, 0.0f); }
__device__ inline float round_bf16(float x) { return __uint_as_float(pack_bf16(0.0f, x)); }

struct alignas(16) Words {
  unsigned at[4];
};

template <typename T>
struct Pack {
  static constexpr int kWords = (kWidth * (int)sizeof(T) + 15) / 16;  // never half of one is used
  Words words[kWords];
};
__device__ inline float element(const Pack<float>& pack, int i) {
  return __uint_as_float(pack.words[i / 4].at[i % 4]);
}
__device__ inline float element(const Pack<bf16>& pack, int i) {
  const unsigned two = pack.words[i / 8].at[i / 2 % 4];
  return __uint_as_float(i % 2 == 0 ? two << 16 : two & 0xffff0000u);
}

template <typename T>
__device__ inline Pack<T> load(const T* from) {
  Pack<T> pack;
#pragma unroll
  for (int w = 0; w < Pack<T>::kWords; ++w) pack.words[w] = ((const Words*)from)[w];
  return pack;
}
template <typename T>
__device__ inline void store(T* to, const Pack<T>& pack) {
#pragma unroll
  for (int w = 0; w < Pack<T>::kWords; ++w) ((Words*)to)[w] = pack.words[w];
}

// Elements [begin, begin + kWidth) of the endless repetition of `size` elements.
template <typename T>
__device__ inline Pack<float> load_repeated(const T* from, long long begin, long long size) {
  Pack<float> pack;
  long long at = begin % size;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) {
    pack.words[i / 4].at[i % 4] = __float_as_uint(widen(from[at]));
    if (++at == size) at = 0;
  }
  return pack;
}

__device__ inline Pack<float> to_pack(const float (&values)[kWidth], const float*) {
  Pack<float> pack;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) pack.words[i / 4].at[i % 4] = __float_as_uint(values[i]);
  return pack;
}
__device__ inline Pack<bf16> to_pack(const float (&values)[kWidth], const bf16*) {
  Pack<bf16> pack;
#pragma unroll
  for (int i = 0; i < kWidth; i += 2) {
    pack.words[i / 8].at[i / 2 % 4] = pack_bf16(values[i], values[i + 1]);
  }
  return pack;
}
)";

std::string_view type_of(DType dtype) {
  if (dtype == DType::fp32) return "float";
  require(dtype == DType::bf16, "element-wise source of {}", name_of(dtype));
  return "bf16";
}

std::string number_of(double value) {
  const auto rounded = static_cast<float>(value);
  if (std::isnan(rounded)) return "__uint_as_float(0x7fc00000u)";
  if (std::isinf(rounded)) {
    return fmt::format("__uint_as_float({}u)", rounded > 0 ? "0x7f800000" : "0xff800000");
  }
  return fmt::format("{:.9e}f", rounded);
}

std::string text_of(const ElementwiseOperand& operand) {
  switch (operand.kind) {
    case Kind::input: return fmt::format("x{}", operand.index);
    case Kind::temporary: return fmt::format("t{}", operand.index);
    case Kind::number: return number_of(operand.number);
  }
  fail("element-wise source: operand of unknown kind");
}

std::string expression_of(const ElementwiseInstruction& instruction) {
  const std::string a = text_of(instruction.operands[0]), b = text_of(instruction.operands[1]);
  switch (instruction.op) {
    case ElementwiseOp::add: return fmt::format("{} + {}", a, b);
    case ElementwiseOp::subtract: return fmt::format("{} - {}", a, b);
    case ElementwiseOp::multiply:
    case ElementwiseOp::scale: return fmt::format("{} * {}", a, b);
    case ElementwiseOp::gelu_tanh:
    case ElementwiseOp::gelu:
    case ElementwiseOp::silu: return fmt::format("{}({})", name_of(instruction.op), a);
    case ElementwiseOp::gelu_tanh_grad:
    case ElementwiseOp::gelu_grad:
    case ElementwiseOp::silu_grad: return fmt::format("{}({}, {})", name_of(instruction.op), a, b);
    case ElementwiseOp::round:
      require(instruction.dtype != DType::fp16, "element-wise source: rounding to fp16");
      return instruction.dtype == DType::bf16 ? fmt::format("round_bf16({})", a) : a;
  }
  fail("element-wise source: unknown instruction");
}

std::vector<bool> inputs_read(const ElementwiseProgram& program, std::size_t inputs) {
  std::vector<bool> read(inputs, false);
  const auto note = [&](const ElementwiseOperand& operand) {
    if (operand.kind == Kind::input) read[static_cast<std::size_t>(operand.index)] = true;
  };
  for (const ElementwiseInstruction& instruction : program.instructions) {
    for (int o = 0; o < arity_of(instruction.op); ++o) {
      note(instruction.operands[static_cast<std::size_t>(o)]);
    }
  }
  for (const ElementwiseOperand& value : program.returns) note(value);
  return read;
}

class Writer {
 public:
  Writer(const ElementwiseProgram& program, std::span<const std::optional<ElementwiseInput>> inputs,
         std::span<const DType> results, std::int64_t elements)
      : program_(program), results_(results) {
    require(program.returns.size() == results.size(), "a program of {} results for {}",
            program.returns.size(), results.size());
    const std::vector<bool> read = inputs_read(program, inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      if (!read[i]) continue;
      require(inputs[i].has_value(), "the program reads operand {}, which is absent", i);
      read_.push_back({i, inputs[i]->dtype, inputs[i]->elements, Reach::part});
      if (inputs[i]->elements == 1) read_.back().reach = Reach::scalar;
      if (inputs[i]->elements == elements) read_.back().reach = Reach::whole;
    }
  }

  ElementwiseSource write() {
    choose_shape();
    text_ = fmt::format("// {}\nconstexpr int kThreads = {}, kWidth = {}, kUnroll = {};\n{}{}\n",
                        kernels::to_string(program_), ElementwiseSource::kThreads, width_, unroll_,
                        kElements, kActivationsText);
    write_program();
    write_kernel();
    ElementwiseSource source{std::move(text_), {}, width_, unroll_};
    for (const Input& input : read_) source.operands.push_back(input.index);
    return source;
  }

 private:
  enum class Reach { whole, part, scalar };
  struct Input {
    std::size_t index;
    DType dtype;
    std::int64_t elements;
    Reach reach;
  };

  template <typename... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
    text_ += '\n';
  }

  // About four 16-byte loads in flight for each thread: what hides the latency of memory.
  void choose_shape() {
    bool narrow = std::count(results_.begin(), results_.end(), DType::bf16) > 0;
    for (const Input& input : read_) narrow |= input.dtype == DType::bf16;
    width_ = narrow ? 8 : 4;
    int loads = 0;
    for (const Input& input : read_) {
      if (input.reach != Reach::whole) continue;
      loads += width_ * static_cast<int>(size_of(input.dtype)) / 16;
    }
    unroll_ = std::clamp(4 / std::max(loads, 1), 1, 4);
  }

  void write_program() {
    text_ += "using namespace bessemer::kernels::cuda::activation;\n";
    text_ += "struct Results {\n";
    for (std::size_t r = 0; r < results_.size(); ++r) line("  float y{};", r);
    text_ += "};\n";
    line("__device__ inline Results program({}) {{",
         joined([](const Input& input) { return fmt::format("float x{}", input.index); }));
    for (std::size_t t = 0; t < program_.instructions.size(); ++t) {
      line("  const float t{} = {};", t, expression_of(program_.instructions[t]));
    }
    std::vector<std::string> returns;
    for (const ElementwiseOperand& value : program_.returns) returns.push_back(text_of(value));
    line("  return {{{}}};\n}}\n", fmt::join(returns, ", "));
  }

  void write_kernel() {
    std::vector<std::string> parameters;
    for (const Input& input : read_) {
      parameters.push_back(fmt::format("const {}* x{}", type_of(input.dtype), input.index));
    }
    for (std::size_t r = 0; r < results_.size(); ++r) {
      parameters.push_back(fmt::format("{}* y{}", type_of(results_[r]), r));
    }
    line("extern \"C\" __global__ void __launch_bounds__(kThreads)\n{}({}, long long elements) {{",
         ElementwiseSource::kName, fmt::join(parameters, ", "));
    for (const Input& input : read_) {
      if (input.reach == Reach::scalar) line("  const float s{0} = widen(*x{0});", input.index);
    }
    line("  const long long packs = elements / kWidth;");
    line(
        "  for (long long tile = blockIdx.x; tile * kThreads * kUnroll < packs; tile += gridDim.x) "
        "{{");
    line("    const long long first = tile * kThreads * kUnroll + threadIdx.x;");
    write_loads();
    write_computation();
    line("  }}");
    write_tail();
    line("}}");
  }

  void write_loads() {
    for (const Input& input : read_) {
      if (input.reach == Reach::scalar) continue;
      line("    Pack<{}> p{}[kUnroll];", pack_type(input), input.index);
    }
    line("#pragma unroll\n    for (int u = 0; u < kUnroll; ++u) {{");
    line("      const long long pack = first + u * kThreads;");
    line("      if (pack >= packs) continue;");
    for (const Input& input : read_) {
      const std::size_t i = input.index;
      if (input.reach == Reach::whole) line("      p{0}[u] = load(x{0} + pack * kWidth);", i);
      if (input.reach != Reach::part) continue;
      if (in_packs(input)) {
        line("      p{0}[u] = load(x{0} + (unsigned long long)pack % {1}u * kWidth);", i,
             input.elements / width_);
      } else {
        line("      p{0}[u] = load_repeated(x{0}, pack * kWidth, {1});", i, input.elements);
      }
    }
    line("    }}");
  }

  void write_computation() {
    line("#pragma unroll\n    for (int u = 0; u < kUnroll; ++u) {{");
    line("      const long long pack = first + u * kThreads;");
    line("      if (pack >= packs) continue;");
    for (std::size_t r = 0; r < results_.size(); ++r) line("      float v{}[kWidth];", r);
    line("#pragma unroll\n      for (int i = 0; i < kWidth; ++i) {{");
    line("        const Results results = program({});", joined([](const Input& input) {
           return input.reach == Reach::scalar ? fmt::format("s{}", input.index)
                                               : fmt::format("element(p{}[u], i)", input.index);
         }));
    for (std::size_t r = 0; r < results_.size(); ++r) line("        v{0}[i] = results.y{0};", r);
    line("      }}");
    for (std::size_t r = 0; r < results_.size(); ++r) {
      line("      store(y{0} + pack * kWidth, to_pack(v{0}, y{0}));", r);
    }
    line("    }}");
  }

  void write_tail() {
    line("  const long long i = packs * kWidth + threadIdx.x;");
    line("  if (blockIdx.x == 0 && i < elements) {{");
    line("    const Results results = program({});", joined([](const Input& input) {
           const std::size_t x = input.index;
           if (input.reach == Reach::scalar) return fmt::format("s{}", x);
           if (input.reach == Reach::whole) return fmt::format("widen(x{}[i])", x);
           return fmt::format("widen(x{}[i % {}])", x, input.elements);
         }));
    for (std::size_t r = 0; r < results_.size(); ++r) {
      line("    narrow(results.y{0}, y{0}[i]);", r);
    }
    line("  }}");
  }

  bool in_packs(const Input& input) const { return input.elements % width_ == 0; }
  std::string_view pack_type(const Input& input) const {
    return input.reach == Reach::whole || in_packs(input) ? type_of(input.dtype) : "float";
  }

  template <typename Text>
  std::string joined(Text text) const {
    std::vector<std::string> parts;
    for (const Input& input : read_) parts.push_back(text(input));
    return fmt::format("{}", fmt::join(parts, ", "));
  }

  const ElementwiseProgram& program_;
  std::span<const DType> results_;
  std::vector<Input> read_;
  int width_ = 0, unroll_ = 0;
  std::string text_;
};

// Beyond it blocks take several tiles.
constexpr std::int64_t kMostBlocks = 1 << 16;

}  // namespace

std::int64_t ElementwiseSource::blocks(std::int64_t elements) const {
  const std::int64_t tile = std::int64_t{kThreads} * unroll * width;
  return std::clamp<std::int64_t>(divide_up(elements, tile), 1, kMostBlocks);
}

ElementwiseSource elementwise_source(const ElementwiseProgram& program,
                                     std::span<const std::optional<ElementwiseInput>> inputs,
                                     std::span<const DType> results, std::int64_t elements) {
  return Writer(program, inputs, results, elements).write();
}

}  // namespace bessemer::kernels::cuda
