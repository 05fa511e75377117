// The CUDA backend's AdamW and global norm against the reference.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/cuda/cuda.h"
#include "kernels/norm_block.h"
#include "kernels/reference/reference.h"
#include "support/cuda_test.h"
#include "support/rounded_update.h"
#include "support/thread_orders.h"

namespace bessemer::testing {
namespace {

namespace cuda = kernels::cuda;
namespace reference = kernels::reference;

const Attributes kAdamW{{"beta1", 0.9}, {"beta2", 0.95}, {"epsilon", 1e-8}, {"weight_decay", 0.1}};
const TensorType kScalar{DType::fp32, {}};

using CudaAdamW = CudaTest;
using CudaGlobalNorm = CudaTest;
using CudaStepDecision = CudaTest;

Operands adamw_operands(const TensorType& type, double step, double coefficient) {
  Tensor v = normal(type, 4);
  for (std::int64_t i = 0; i < v.size(); ++i) v.set(i, v.get(i) * v.get(i) * 1e-2);
  return {normal(type, 1),     normal(type, 2, 0.1),           normal(type, 3, 0.1),      v,
          of(kScalar, {3e-4}), of({DType::int64, {}}, {step}), of(kScalar, {coefficient})};
}

TEST_F(CudaAdamW, AgreesWithReference) {
  const std::vector<std::pair<int, int>> in_place{{0, 0}, {1, 2}, {2, 3}};
  for (const Shape& shape :
       {Shape{}, Shape{5}, Shape{768}, Shape{33, 63}, Shape{2048}, Shape{7, 1025}}) {
    const TensorType type{DType::fp32, shape};
    for (const double step : {1.0, 1000.0, 5000000.0}) {
      for (const double coefficient : std::vector<double>{1.0, 0.125, NAN}) {
        SCOPED_TRACE(fmt::format("{} step {} coefficient {}", to_string(type), step, coefficient));
        const Operands in = adamw_operands(type, step, coefficient);
        const std::vector<TensorType> types{type, type, type};
        const KernelRun expected = run_kernel(reference::adamw_update, in, types, kAdamW);
        const KernelRun run = run_in_each_thread_order(cuda::adamw_update, in, types, kAdamW);
        const KernelRun shared = run_cuda_kernel(cuda::adamw_update, in, types, kAdamW, in_place);
        for (std::size_t r = 0; r < 3; ++r) {
          EXPECT_LE(relative_difference(run.results[r], expected.results[r]), 1e-6) << r;
          EXPECT_TRUE(same_bits(shared.results[r], run.results[r])) << r << " in place";
          if (!std::isnan(coefficient)) continue;
          EXPECT_TRUE(same_bits(run.results[r], *in[r == 0 ? 0 : r + 1])) << r << " unchanged";
        }
      }
    }
  }
}

// The weight has the bits of a cast of the new parameter, or of the old one where nothing is
// changed.
TEST_F(CudaAdamW, WeightIsTheCastOfTheParameter) {
  Attributes attributes = kAdamW;
  attributes.set("weight", std::string("bf16"));
  for (const Shape& shape : {Shape{}, Shape{5}, Shape{33, 63}, Shape{3, 4099}}) {
    const TensorType type{DType::fp32, shape}, rounded{DType::bf16, shape};
    for (const double coefficient : std::vector<double>{1.0, NAN}) {
      SCOPED_TRACE(fmt::format("{} coefficient {}", to_string(type), coefficient));
      const Operands in = adamw_operands(type, 3, coefficient);
      const KernelRun run =
          run_in_each_thread_order(cuda::adamw_update, in, {type, type, type, rounded}, attributes);
      const KernelRun plain = run_cuda_kernel(cuda::adamw_update, in, {type, type, type}, kAdamW);
      const KernelRun cast = run_kernel(reference::cast, {plain.results[0]}, {rounded});
      for (std::size_t r = 0; r < 3; ++r) {
        EXPECT_TRUE(same_bits(run.results[r], plain.results[r])) << r;
      }
      EXPECT_TRUE(same_bits(run.results[3], cast.results[0]));
    }
  }
}

// Tensors of any sizes, some with a weight, some that decay; and more of them than a launch takes.
TEST_F(CudaAdamW, OfAllHasTheBitsOfOneByOne) {
  std::vector<std::int64_t> many(375, 3);
  many[371] = 8200;
  for (const std::vector<std::int64_t>& sizes : {{5, 8193, 1, 768, 16384}, many}) {
    for (const double coefficient : std::vector<double>{0.5, NAN}) {
      const Operands scalars = adamw_operands({DType::fp32, {1}}, 3, coefficient);
      Operands all(scalars.begin() + 4, scalars.end());
      std::vector<TensorType> results, rounded;
      std::vector<std::int64_t> decays, weights;
      std::vector<KernelRun> expected;
      for (const std::int64_t size : sizes) {
        const TensorType type{DType::fp32, {size}};
        const Operands one = adamw_operands(type, 3, coefficient);
        all.insert(all.end(), one.begin(), one.begin() + 4);
        decays.push_back(size % 2);
        weights.push_back(size % 3 == 0 ? 0 : 1);
        Attributes attributes = kAdamW;
        if (decays.back() == 0) attributes.set("weight_decay", 0.0);
        std::vector<TensorType> of_one(3, type);
        results.insert(results.end(), 3, type);
        if (weights.back() != 0) {
          attributes.set("weight", std::string("bf16"));
          rounded.push_back({DType::bf16, type.shape});
          of_one.push_back(rounded.back());
        }
        expected.push_back(run_cuda_kernel(cuda::adamw_update, one, of_one, attributes));
      }
      results.insert(results.end(), rounded.begin(), rounded.end());
      Attributes attributes = kAdamW;
      attributes.set("weight", std::string("bf16"));
      attributes.set("decays", decays);
      attributes.set("weights", weights);
      const KernelRun run = run_cuda_kernel(cuda::adamw_update_all, all, results, attributes);
      ASSERT_FALSE(run.declined);
      std::size_t next_weight = 3 * sizes.size();
      for (std::size_t i = 0; i < sizes.size(); ++i) {
        for (std::size_t r = 0; r < expected[i].results.size(); ++r) {
          const std::size_t at = r < 3 ? 3 * i + r : next_weight++;
          EXPECT_TRUE(same_bits(run.results[at], expected[i].results[r])) << i << " " << r;
        }
      }
    }
  }
}

// A parameter in bf16, rounded by the bits that the reference draws.
TEST_F(CudaAdamW, RoundsAsTheReference) {
  const std::vector<std::pair<int, int>> in_place{{0, 0}, {1, 2}, {2, 3}};
  for (const Shape& shape : {Shape{5}, Shape{33, 63}, Shape{3, 8195}}) {
    const std::vector<TensorType> types = rounded_update_results(shape);
    for (const std::int64_t first : {std::int64_t{0}, std::int64_t{5} << 32}) {
      for (const double coefficient : std::vector<double>{1.0, NAN}) {
        SCOPED_TRACE(fmt::format("{} from {}, {}", to_string(shape), first, coefficient));
        const Attributes attributes = rounded_update_attributes(11, 3, first);
        const Operands in = rounded_update(parameters_near_one(shape), signs(shape),
                                           21077 * 0x1p-23, 9, coefficient);
        const KernelRun expected = run_kernel(reference::adamw_update, in, types, attributes);
        const KernelRun run = run_in_each_thread_order(cuda::adamw_update, in, types, attributes);
        const KernelRun shared =
            run_cuda_kernel(cuda::adamw_update, in, types, attributes, in_place);
        for (std::size_t r = 0; r < 3; ++r) {
          EXPECT_TRUE(same_bits(run.results[r], expected.results[r])) << r;
          EXPECT_TRUE(same_bits(shared.results[r], run.results[r])) << r << " in place";
        }
        if (std::isnan(coefficient)) {
          EXPECT_TRUE(same_bits(run.results[0], *in[0]));
        }
      }
    }
  }
}

TEST_F(CudaAdamW, OfAllRoundsEachAsAlone) {
  Operands all;
  std::vector<TensorType> results;
  std::vector<Tensor> expected;
  std::vector<std::int64_t> sites;
  for (const std::int64_t size : {5, 8193, 768}) {
    sites.push_back(7 - static_cast<std::int64_t>(sites.size()));
    const Operands one =
        rounded_update(parameters_near_one({size}), signs({size}), 21077 * 0x1p-23);
    if (all.empty()) all.assign(one.begin() + 4, one.end());
    all.insert(all.end(), one.begin(), one.begin() + 4);
    const std::vector<TensorType> types = rounded_update_results({size});
    results.insert(results.end(), types.begin(), types.end());
    expected.push_back(
        run_cuda_kernel(cuda::adamw_update, one, types, rounded_update_attributes(11, sites.back()))
            .results[0]);
  }
  Attributes attributes = rounded_update_attributes();
  attributes.set("sites", sites);
  attributes.set("decays", std::vector<std::int64_t>{0, 0, 0});
  attributes.set("weights", std::vector<std::int64_t>{0, 0, 0});
  for (const auto& run : {run_cuda_kernel(cuda::adamw_update_all, all, results, attributes),
                          run_kernel(reference::adamw_update_all, all, results, attributes)}) {
    ASSERT_FALSE(run.declined);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(same_bits(run.results[3 * i], expected[i])) << i;
    }
  }
}

TEST_F(CudaAdamW, FirstStepFromZeroMovesByTheLearningRate) {
  const TensorType type{DType::fp32, {3}};
  const KernelRun run = run_cuda_kernel(
      cuda::adamw_update,
      {of(type, {1, 1, 1}), of(type, {0.5, -2, 0}), of(type, {0, 0, 0}), of(type, {0, 0, 0}),
       of(kScalar, {0.1}), of({DType::int64, {}}, {1}), of(kScalar, {1})},
      {type, type, type},
      {{"beta1", 0.9}, {"beta2", 0.999}, {"epsilon", 1e-8}, {"weight_decay", 0.0}});
  EXPECT_NEAR(run.results[0].get(0), 0.9, 1e-6);
  EXPECT_NEAR(run.results[0].get(1), 1.1, 1e-6);
  EXPECT_EQ(run.results[0].get(2), 1.0);
}

TEST_F(CudaAdamW, DeclinesFp64) {
  const TensorType type{DType::fp64, {3}};
  const KernelRun run =
      run_cuda_kernel(cuda::adamw_update, adamw_operands(type, 1, 1), {type, type, type}, kAdamW);
  ASSERT_TRUE(run.declined);
  EXPECT_FALSE(run.declined->empty());
}

Operands tensors_of(const std::vector<Shape>& shapes, DType dtype) {
  Operands operands;
  for (const Shape& shape : shapes) operands.push_back(normal({dtype, shape}, operands.size() + 1));
  return operands;
}

// Wherever it stands among them, whatever the norm and the loss.
TEST_F(CudaStepDecision, SkipsWhereAnAmaxIsNotFinite) {
  for (const double amax : {3.0, static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    for (const std::int64_t at : {0, 31, 32, 69}) {
      Tensor amaxes({DType::fp32, {70}});
      amaxes.set(at, amax);
      const Operands operands{of(kScalar, {0.5}), of(kScalar, {2}), amaxes};
      const KernelRun run =
          run_cuda_kernel(cuda::clip_coefficient, operands, {kScalar}, {{"max_norm", 1.0}});
      EXPECT_EQ(std::isnan(run.results[0].get(0)), !std::isfinite(amax)) << amax << " at " << at;
    }
  }
}

/// global_norm in its two steps.
Tensor norm_in_two_steps(const Operands& operands) {
  Operands sums;
  for (const auto& x : operands) {
    const TensorType type{DType::fp64, {kernels::norm_blocks(x->size())}};
    sums.push_back(run_cuda_kernel(cuda::sum_of_squares, {x}, {type}).results[0]);
  }
  return run_cuda_kernel(cuda::norm_of_sums, sums, {kScalar}).results[0];
}

TEST_F(CudaGlobalNorm, AgreesWithReferenceWholeAndInTwoSteps) {
  const std::vector<std::vector<Shape>> lists{
      {{1}}, {{3, 5}, {}, {17}}, {{768, 50}, {32768}, {32769}, {0}, {4096}}};
  for (const DType dtype : {DType::fp32, DType::bf16}) {
    for (const auto& shapes : lists) {
      SCOPED_TRACE(fmt::format("{} {}", shapes.size(), name_of(dtype)));
      const Operands operands = tensors_of(shapes, dtype);
      const KernelRun expected = run_kernel(reference::global_norm, operands, {kScalar});
      const KernelRun run = run_in_each_thread_order(cuda::global_norm, operands, {kScalar});
      EXPECT_LE(relative_difference(run.results[0], expected.results[0]), 1e-7);
      EXPECT_TRUE(same_bits(norm_in_two_steps(operands), run.results[0]));
    }
  }
}

// As many tensors as need more than one launch.
TEST_F(CudaGlobalNorm, TakesAnyNumberOfTensors) {
  const Operands operands = tensors_of(std::vector<Shape>(163, Shape{3}), DType::fp32);
  const KernelRun expected = run_kernel(reference::global_norm, operands, {kScalar});
  const KernelRun run = run_cuda_kernel(cuda::global_norm, operands, {kScalar});
  EXPECT_LE(relative_difference(run.results[0], expected.results[0]), 1e-7);

  Operands sums = tensors_of(std::vector<Shape>(163, Shape{2}), DType::fp64);
  for (auto& sum : sums) {
    for (std::int64_t i = 0; i < sum->size(); ++i) sum->set(i, std::abs(sum->get(i)));
  }
  const KernelRun root = run_kernel(reference::norm_of_sums, sums, {kScalar});
  EXPECT_LE(relative_difference(run_cuda_kernel(cuda::norm_of_sums, sums, {kScalar}).results[0],
                                root.results[0]),
            1e-7);
}

// A tensor that comes in pieces of whole blocks.
TEST_F(CudaGlobalNorm, PiecesHaveTheBitsOfTheWhole) {
  const std::int64_t cut = kernels::kNormBlock, size = 2 * cut + 1000;
  const Tensor whole = normal({DType::fp32, {size}}, 1);
  Tensor first({DType::fp32, {cut}}), rest({DType::fp32, {size - cut}});
  std::memcpy(first.data(), whole.data(), first.type().bytes());
  std::memcpy(rest.data(), whole.as<float>() + cut, rest.type().bytes());
  const KernelRun run = run_cuda_kernel(cuda::global_norm, {whole}, {kScalar});
  EXPECT_TRUE(same_bits(norm_in_two_steps({first, rest}), run.results[0]));
}

TEST_F(CudaGlobalNorm, LargeValuesDoNotOverflowAndNonFiniteOnesShow) {
  const TensorType type{DType::fp32, {4}};
  const auto norm = [&](const std::vector<double>& values) {
    return run_cuda_kernel(cuda::global_norm, {of(type, values)}, {kScalar}).results[0].get(0);
  };
  EXPECT_NEAR(norm({3e30, 4e30, 0, 0}) / 5e30, 1, 1e-6);
  EXPECT_TRUE(std::isnan(norm({1, NAN, 0, 0})));
  EXPECT_EQ(norm({1, -INFINITY, 0, 0}), INFINITY);
}

}  // namespace
}  // namespace bessemer::testing
