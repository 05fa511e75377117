#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

const Attributes kEpsilon{{"epsilon", 1e-5}};

struct NormShape {
  Shape shape;
  DType gain;
};

std::vector<NormShape> shapes(DType dtype) {
  return {{{1, 1}, DType::fp32},       {{3, 5}, DType::fp32},     {{2, 4, 16}, dtype},
          {{2, 3, 63}, DType::fp32},   {{7, 100}, dtype},         {{600, 33}, DType::fp32},
          {{4, 33, 768}, DType::fp32}, {{130, 257}, DType::bf16}, {{1, 5000}, DType::fp32}};
}

/// x with a mean far from zero, where a one-pass variance would lose its digits.
Tensor input(const TensorType& type, std::uint64_t seed) {
  Tensor x = normal(type, seed);
  for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, x.get(i) + 3);
  return x;
}

Shape leading(const Shape& shape) { return Shape(shape.begin(), shape.end() - 1); }

TEST(Norm, ForwardAgreesWithReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const NormShape& s : shapes(dtype)) {
      const TensorType x{dtype, s.shape}, parameter{s.gain, {s.shape.back()}};
      const TensorType statistic{DType::fp32, leading(s.shape)};
      const Tensor gain = normal(parameter, 2), bias = normal(parameter, 3);
      SweepCase c{cpu::layer_norm,
                  reference::layer_norm,
                  {input(x, 1), gain, bias},
                  {x, statistic, statistic},
                  kEpsilon};
      c.tolerance_factor = 4;  // of rstd for a row of one element, 1 / sqrt(epsilon)
      expect_agreement(c, "layer_norm " + to_string(x));
      c.operands[2] = std::nullopt;
      expect_agreement(c, "layer_norm without bias " + to_string(x));
      SweepCase rms{
          cpu::rms_norm, reference::rms_norm, {input(x, 1), gain}, {x, statistic}, kEpsilon};
      rms.tolerance_factor = 2;
      expect_agreement(rms, "rms_norm " + to_string(x));
    }
  }
}

struct Sharing {
  const char* name;
  bool addend;
  std::vector<std::pair<int, int>> share;
};

TEST(Norm, LayerNormGradAgreesWithReference) {
  const std::vector<Sharing> sharings{{"plain", false, {}},
                                      {"with addend", true, {}},
                                      {"in place of addend", true, {{0, 5}}},
                                      {"in place of dy", false, {{0, 0}}}};
  for (const DType dtype : fast_dtypes()) {
    for (const NormShape& s : shapes(dtype)) {
      const TensorType x{dtype, s.shape}, parameter{s.gain, {s.shape.back()}};
      const TensorType statistic{DType::fp32, leading(s.shape)}, sum{DType::fp32, {s.shape.back()}};
      const Tensor gain = normal(parameter, 2), data = input(x, 1);
      const KernelRun forward = run_kernel(reference::layer_norm, {data, gain, std::nullopt},
                                           {x, statistic, statistic}, kEpsilon);
      for (const Sharing& sharing : sharings) {
        SweepCase c{cpu::layer_norm_grad,
                    reference::layer_norm_grad,
                    {normal(x, 4), data, gain, forward.results[1], forward.results[2],
                     sharing.addend ? std::optional(normal(x, 5)) : std::nullopt},
                    {x, sum, sum},
                    {},
                    sharing.share};
        c.tolerance_factor = 20;  // sums over hundreds of rows, and 1 / sqrt(epsilon) as above
        expect_agreement(c, std::string("layer_norm_grad ") + sharing.name + " " + to_string(x));
      }
    }
  }
}

TEST(Norm, RmsNormGradAgreesWithReference) {
  const std::vector<Sharing> sharings{{"plain", false, {}},
                                      {"with addend", true, {}},
                                      {"in place of addend", true, {{0, 4}}},
                                      {"in place of dy, with addend", true, {{0, 0}}}};
  for (const DType dtype : fast_dtypes()) {
    for (const NormShape& s : shapes(dtype)) {
      const TensorType x{dtype, s.shape}, parameter{s.gain, {s.shape.back()}};
      const TensorType statistic{DType::fp32, leading(s.shape)}, sum{DType::fp32, {s.shape.back()}};
      const Tensor gain = normal(parameter, 2), data = input(x, 1);
      const KernelRun forward =
          run_kernel(reference::rms_norm, {data, gain}, {x, statistic}, kEpsilon);
      for (const Sharing& sharing : sharings) {
        SweepCase c{cpu::rms_norm_grad,
                    reference::rms_norm_grad,
                    {normal(x, 4), data, gain, forward.results[1],
                     sharing.addend ? std::optional(normal(x, 5)) : std::nullopt},
                    {x, sum},
                    {},
                    sharing.share};
        c.tolerance_factor = 4;
        expect_agreement(c, std::string("rms_norm_grad ") + sharing.name + " " + to_string(x));
      }
    }
  }
}

TEST(Norm, DeclinesOtherDtypesWithAReason) {
  const TensorType x{DType::fp64, {2, 4}}, vector{DType::fp64, {4}}, statistic{DType::fp64, {2}};
  const KernelRun run =
      run_kernel(cpu::rms_norm, {normal(x, 1), normal(vector, 2)}, {x, statistic}, kEpsilon);
  ASSERT_TRUE(run.declined);
  EXPECT_NE(run.declined->find("fp64"), std::string::npos) << *run.declined;
}

}  // namespace
}  // namespace bessemer::testing
