// Element-wise ops: the `fused` program and the single ops, which are programs of a few
// instructions. Each reads its operands and writes its results once, and nothing else; written as
// source at planning (elementwise_source.h), compiled where the device is (jit.h).
#include <array>

#include <fmt/format.h>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/elementwise_source.h"
#include "kernels/cuda/jit.h"
#include "kernels/elementwise_ops.h"

namespace bessemer::kernels::cuda {
namespace {

class ElementwiseKernel final : public Kernel {
 public:
  ElementwiseKernel(ElementwiseSource source, std::int64_t elements, std::size_t results)
      : source_(std::move(source)), elements_(elements), results_(results) {}

  void load() const override { compiled_ = &compile(source_.text, ElementwiseSource::kName); }

  void run(const KernelBuffers& buffers) const override {
    require(compiled_ != nullptr, "an element-wise kernel runs before it is loaded");
    std::array<std::uint64_t, CompiledKernel::kMostArguments> words;
    std::size_t count = 0;
    for (const std::size_t i : source_.operands) words[count++] = word(buffers.operands[i]);
    for (std::size_t r = 0; r < results_; ++r) words[count++] = word(buffers.results[r]);
    words[count++] = static_cast<std::uint64_t>(elements_);
    compiled_->launch(source_.blocks(elements_), ElementwiseSource::kThreads, buffers.stream,
                      {words.data(), count});
  }

 private:
  static std::uint64_t word(const void* pointer) {
    return reinterpret_cast<std::uint64_t>(pointer);
  }

  ElementwiseSource source_;
  std::int64_t elements_;
  std::size_t results_;
  mutable const CompiledKernel* compiled_ = nullptr;  // by load()
};

bool is_done(DType dtype) { return dtype == DType::fp32 || dtype == DType::bf16; }

std::optional<Declined> decline(const KernelRequest& request, const ElementwiseProgram& program) {
  for (std::size_t i = 0; i < request.operands.size(); ++i) {
    if (!request.has_operand(i) || is_done(request.operand(i).dtype)) continue;
    return Declined{fmt::format("operand {} is {}; this kernel does fp32 and bf16", i,
                                name_of(request.operand(i).dtype))};
  }
  for (const TensorType& result : request.results) {
    if (is_done(result.dtype)) continue;
    return Declined{
        fmt::format("the result is {}; this kernel does fp32 and bf16", name_of(result.dtype))};
  }
  for (const ElementwiseInstruction& instruction : program.instructions) {
    if (instruction.op == ElementwiseOp::round && instruction.dtype == DType::fp16) {
      return Declined{"rounding to fp16 is not done here"};
    }
  }
  const std::size_t arguments = request.operands.size() + request.results.size() + 1;
  if (arguments > CompiledKernel::kMostArguments) {
    return Declined{fmt::format("{} operands and results; at most {}", arguments - 1,
                                CompiledKernel::kMostArguments - 1)};
  }
  return std::nullopt;
}

Prepared prepare_program(const KernelRequest& request, std::string_view text) {
  const ElementwiseProgram program =
      parse_elementwise_program(text, static_cast<int>(request.operands.size()));
  if (auto declined = decline(request, program)) return *declined;
  std::vector<std::optional<ElementwiseInput>> inputs;
  for (const auto& type : request.operands) {
    inputs.push_back(type ? std::optional(ElementwiseInput{type->dtype, type->elements()})
                          : std::nullopt);
  }
  std::vector<DType> results;
  for (const TensorType& type : request.results) results.push_back(type.dtype);
  const std::int64_t elements = request.results[0].elements();
  return std::unique_ptr<const Kernel>(std::make_unique<ElementwiseKernel>(
      elementwise_source(program, inputs, results, elements), elements, results.size()));
}

}  // namespace

Prepared fused(const KernelRequest& request) {
  return prepare_program(request, request.attributes.text("program"));
}

Prepared add(const KernelRequest& request) { return prepare_program(request, elementwise::kAdd); }

Prepared multiply(const KernelRequest& request) {
  return prepare_program(request, elementwise::kMultiply);
}

Prepared scale(const KernelRequest& request) {
  return prepare_program(request, elementwise::scale(request.attributes));
}

Prepared cast(const KernelRequest& request) { return prepare_program(request, elementwise::kCast); }

Prepared gelu(const KernelRequest& request) {
  return prepare_program(request, elementwise::gelu(request.attributes));
}

Prepared gelu_grad(const KernelRequest& request) {
  return prepare_program(request, elementwise::gelu_grad(request.attributes));
}

Prepared silu(const KernelRequest& request) { return prepare_program(request, elementwise::kSilu); }

Prepared silu_grad(const KernelRequest& request) {
  return prepare_program(request, elementwise::kSiluGrad);
}

Prepared swiglu(const KernelRequest& request) {
  return prepare_program(request, elementwise::kSwiglu);
}

Prepared swiglu_grad(const KernelRequest& request) {
  return prepare_program(request, elementwise::kSwigluGrad);
}

}  // namespace bessemer::kernels::cuda
