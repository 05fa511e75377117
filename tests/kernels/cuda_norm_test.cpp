#include "kernels/cuda/cuda.h"
#include "kernels/reference/reference.h"
#include "support/cuda_sweep.h"
#include "support/cuda_test.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

const Attributes kEpsilon{{"epsilon", 1e-5}};

struct NormShape {
  Shape shape;
  DType gain;
};

/// One row and one element; widths that are not of whole packs; several teams in a block, and one;
/// and rows too wide for registers.
std::vector<NormShape> forward_shapes(DType dtype) {
  return {{{1, 1}, DType::fp32},      {{9, 8}, dtype},          {{2, 2, 67}, dtype},
          {{3, 3, 768}, DType::fp32}, {{1, 4096}, DType::bf16}, {{1, 16392}, DType::fp32},
          {{2, 5001}, DType::fp32}};
}
std::vector<NormShape> grad_shapes(DType dtype) {
  return {{{1, 1}, DType::fp32}, {{9, 8}, dtype}, {{2, 2, 67}, dtype}, {{3, 3, 768}, DType::bf16}};
}

/// x with a mean far from zero, where a one-pass variance would lose its digits.
Tensor input(const TensorType& type) {
  Tensor x = normal(type, 1);
  for (std::int64_t i = 0; i < x.size(); ++i) x.set(i, x.get(i) + 3);
  return x;
}

Shape leading(const Shape& shape) { return Shape(shape.begin(), shape.end() - 1); }

class CudaNorm : public CudaTest {};

/// A use with and without the amax of its first result, which is that of the kernel amax.
void expect_measured(PrepareFn prepare, const Operands& operands, std::vector<TensorType> results,
                     Attributes attributes) {
  const KernelRun plain = run_cuda_kernel(prepare, operands, results, attributes);
  results.push_back({DType::fp32, {}});
  attributes.set("measure", true);
  const KernelRun run = run_in_each_thread_order(prepare, operands, results, attributes);
  const KernelRun amax = run_cuda_kernel(cuda::amax, {plain.results[0]}, {results.back()});
  const std::string what = to_string(results[0]) + " of " + std::to_string(operands.size());
  EXPECT_TRUE(same_bits(run.results.back(), amax.results[0])) << what;
  for (std::size_t r = 0; r < plain.results.size(); ++r) {
    EXPECT_TRUE(same_bits(run.results[r], plain.results[r])) << what << ", result " << r;
  }
}

/// Those that the norm itself gives, to the bit.
void expect_statistics_of(Operands operands, const TensorType& x, const TensorType& statistic,
                          bool centred) {
  std::vector<TensorType> results(centred ? 2 : 1, statistic);
  Attributes attributes = kEpsilon;
  attributes.set("centred", centred);
  const KernelRun alone =
      run_cuda_kernel(cuda::norm_statistics, {operands[0]}, results, attributes);
  if (!centred) operands.pop_back();
  results.insert(results.begin(), x);
  const KernelRun norm =
      run_cuda_kernel(centred ? cuda::layer_norm : cuda::rms_norm, operands, results, kEpsilon);
  for (std::size_t r = 0; r < alone.results.size(); ++r) {
    EXPECT_TRUE(same_bits(alone.results[r], norm.results[r + 1])) << to_string(x) << ", " << r;
  }
}

TEST_F(CudaNorm, ForwardAgreesWithReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const NormShape& s : forward_shapes(dtype)) {
      const TensorType x{dtype, s.shape}, parameter{s.gain, {s.shape.back()}};
      const TensorType statistic{DType::fp32, leading(s.shape)};
      const Tensor gain = normal(parameter, 2), bias = normal({DType::fp32, parameter.shape}, 3);
      SweepCase c{cuda::layer_norm,
                  reference::layer_norm,
                  {input(x), gain, bias},
                  {x, statistic, statistic},
                  kEpsilon};
      c.tolerance_factor = 4;
      expect_cuda_agreement(c, "layer_norm " + to_string(x));
      c.operands[2] = std::nullopt;
      expect_cuda_agreement(c, "layer_norm without bias " + to_string(x));
      SweepCase rms{
          cuda::rms_norm, reference::rms_norm, {input(x), gain}, {x, statistic}, kEpsilon};
      rms.tolerance_factor = 4;
      expect_cuda_agreement(rms, "rms_norm " + to_string(x));
      expect_measured(cuda::layer_norm, {input(x), gain, bias}, {x, statistic, statistic},
                      kEpsilon);
      expect_measured(cuda::rms_norm, {input(x), gain}, {x, statistic}, kEpsilon);
      for (const bool centred : {false, true}) {
        expect_statistics_of({input(x), gain, bias}, x, statistic, centred);
      }
    }
  }
}

/// Where dx lies: apart, with an addend or without, or in place of an operand.
enum class Place { apart, apart_with_addend, dy, addend };

std::vector<std::pair<int, int>> share(Place place, int addend) {
  if (place == Place::dy) return {{0, 0}};
  if (place == Place::addend) return {{0, addend}};
  return {};
}

std::optional<Tensor> addend_of(const TensorType& x, Place place) {
  const bool is_there = place == Place::apart_with_addend || place == Place::addend;
  return is_there ? std::optional(normal(x, 5)) : std::nullopt;
}

void check_layer_norm_grad(DType dtype, const NormShape& s, Place place) {
  const TensorType x{dtype, s.shape}, vector{DType::fp32, {s.shape.back()}};
  const TensorType statistic{DType::fp32, leading(s.shape)};
  const Tensor data = input(x), gain = normal({s.gain, vector.shape}, 2);
  const KernelRun forward = run_kernel(reference::layer_norm, {data, gain, std::nullopt},
                                       {x, statistic, statistic}, kEpsilon);
  SweepCase c{
      cuda::layer_norm_grad,
      reference::layer_norm_grad,
      {normal(x, 4), data, gain, forward.results[1], forward.results[2], addend_of(x, place)},
      {x, vector, vector},
      {},
      share(place, 5)};
  c.tolerance_factor = 8;
  expect_cuda_agreement(c, "layer_norm_grad " + to_string(x));
  if (c.share.empty()) expect_measured(c.kernel, c.operands, c.results, {});
}

void check_rms_norm_grad(DType dtype, const NormShape& s, Place place) {
  const TensorType x{dtype, s.shape}, vector{DType::fp32, {s.shape.back()}};
  const TensorType statistic{DType::fp32, leading(s.shape)};
  const Tensor data = input(x), gain = normal({s.gain, vector.shape}, 2);
  const KernelRun forward = run_kernel(reference::rms_norm, {data, gain}, {x, statistic}, kEpsilon);
  SweepCase c{cuda::rms_norm_grad,
              reference::rms_norm_grad,
              {normal(x, 4), data, gain, forward.results[1], addend_of(x, place)},
              {x, vector},
              {},
              share(place, 4)};
  c.tolerance_factor = 8;
  expect_cuda_agreement(c, "rms_norm_grad " + to_string(x));
  if (c.share.empty()) expect_measured(c.kernel, c.operands, c.results, {});
}

TEST_F(CudaNorm, GradAgreesWithReference) {
  for (const DType dtype : fast_dtypes()) {
    for (const NormShape& s : grad_shapes(dtype)) {
      check_layer_norm_grad(dtype, s, Place::apart_with_addend);
      check_rms_norm_grad(dtype, s, Place::apart);
    }
    const std::int64_t too_wide = dtype == DType::bf16 ? 8200 : 4104;
    check_rms_norm_grad(dtype, {{2, too_wide}, DType::fp32}, Place::apart_with_addend);
  }
}

TEST_F(CudaNorm, GradIsRightInPlace) {
  for (const DType dtype : fast_dtypes()) {
    for (const NormShape& s : {NormShape{{19, 8}, DType::fp32}, NormShape{{3, 67}, DType::fp32}}) {
      for (const Place place : {Place::dy, Place::addend}) {
        check_layer_norm_grad(dtype, s, place);
        check_rms_norm_grad(dtype, s, place);
      }
    }
  }
}

// Teams that have several rows, the last of them none.
TEST_F(CudaNorm, GradOfMoreRowsThanTeams) {
  check_rms_norm_grad(DType::bf16, {{264 * 8 + 13, 8}, DType::fp32}, Place::apart_with_addend);
}

TEST_F(CudaNorm, EmptyTensorsHaveNoGradients) {
  const TensorType x{DType::bf16, {0, 8}}, gain{DType::fp32, {8}}, rstd{DType::fp32, {0}};
  expect_cuda_agreement({cuda::rms_norm_grad,
                         reference::rms_norm_grad,
                         {Tensor(x), Tensor(x), normal(gain, 1), Tensor(rstd)},
                         {x, gain}},
                        "no rows");
}

TEST_F(CudaNorm, DeclinesOtherFloats) {
  const TensorType x{DType::fp64, {3, 8}};
  EXPECT_TRUE(run_cuda_kernel(cuda::rms_norm, {normal(x, 1), normal({DType::fp64, {8}}, 2)},
                              {x, {DType::fp64, {3}}}, kEpsilon)
                  .declined);
}

}  // namespace
}  // namespace bessemer::testing
