#include "kernels/cpu/cpu.h"
#include "kernels/reference/reference.h"
#include "support/kernel_sweep.h"

namespace bessemer::testing {
namespace {

namespace cpu = kernels::cpu;
namespace reference = kernels::reference;

const std::vector<DType> kDtypes{DType::fp64, DType::fp32, DType::bf16, DType::uint8};

Tensor sample(DType dtype, const Shape& shape, std::uint64_t seed = 1) {
  return integers({dtype, shape}, seed, 0, 200);
}

/// Copies must be exact: rounding_tolerance does not come in because the values are small integers.
void expect_same(SweepCase c, const std::string& what) {
  c.tolerance_factor = 0;
  expect_agreement(c, what);
}

TEST(Copy, Transpose) {
  struct Case {
    Shape shape;
    std::vector<std::int64_t> permutation;
  };
  const std::vector<Case> cases{{{5}, {0}},
                                {{1, 1}, {1, 0}},
                                {{3, 5}, {1, 0}},
                                {{70, 133}, {1, 0}},
                                {{70, 133}, {-1, -2}},
                                {{300, 260}, {1, 0}},
                                {{2, 3, 4, 5}, {0, 2, 1, 3}},
                                {{2, 33, 4, 40}, {0, 2, 3, 1}},
                                {{3, 40, 2, 35}, {3, 1, 0, 2}},
                                {{4, 1, 6}, {2, 1, 0}},
                                {{2, 3, 0, 4}, {3, 2, 1, 0}},
                                {{5, 6, 7}, {0, 1, 2}}};
  for (const DType dtype : kDtypes) {
    for (const Case& k : cases) {
      TensorType result{dtype, {}};
      for (const std::int64_t d : k.permutation) {
        result.shape.push_back(k.shape[static_cast<std::size_t>(d < 0 ? d + 2 : d)]);
      }
      expect_same({cpu::transpose,
                   reference::transpose,
                   {sample(dtype, k.shape)},
                   {result},
                   {{"permutation", k.permutation}}},
                  "transpose " + to_string(k.shape));
    }
  }
}

TEST(Copy, SlicePadConcat) {
  struct Case {
    Shape shape;
    std::int64_t dim, begin, end;
  };
  const std::vector<Case> cases{
      {{7}, 0, 2, 5},        {{5, 9}, 1, 0, 4},         {{5, 9}, 0, 1, 5},
      {{3, 4, 5}, -2, 1, 3}, {{4, 33000}, 1, 3, 32999}, {{300, 7}, 0, 0, 300},
      {{2, 3}, 1, 1, 1}};
  for (const DType dtype : kDtypes) {
    for (const Case& k : cases) {
      const std::int64_t rank = static_cast<std::int64_t>(k.shape.size());
      const auto dim = static_cast<std::size_t>(k.dim < 0 ? k.dim + rank : k.dim);
      TensorType part{dtype, k.shape};
      part.shape[dim] = k.end - k.begin;
      const std::int64_t after = k.shape[dim] - k.end;
      expect_same({cpu::slice,
                   reference::slice,
                   {sample(dtype, k.shape)},
                   {part},
                   {{"dim", k.dim}, {"begin", k.begin}, {"end", k.end}}},
                  "slice " + to_string(k.shape));
      expect_same({cpu::pad,
                   reference::pad,
                   {sample(dtype, part.shape)},
                   {{dtype, k.shape}},
                   {{"dim", k.dim}, {"before", k.begin}, {"after", after}}},
                  "pad " + to_string(k.shape));
      TensorType joined{dtype, k.shape};
      joined.shape[dim] = 2 * k.shape[dim] + part.shape[dim];
      expect_same(
          {cpu::concat,
           reference::concat,
           {sample(dtype, k.shape, 1), sample(dtype, part.shape, 2), sample(dtype, k.shape, 3)},
           {joined},
           {{"dim", k.dim}}},
          "concat " + to_string(k.shape));
    }
  }
}

TEST(Copy, BroadcastFillReshape) {
  struct Case {
    Shape shape, result;
    std::vector<std::int64_t> dims;
  };
  const std::vector<Case> cases{{{}, {5}, {0}},         {{7}, {3, 7}, {0}},
                                {{3}, {3, 70}, {1}},    {{3, 5}, {3, 4, 5, 6}, {1, -1}},
                                {{4, 50}, {4, 50}, {}}, {{}, {70000}, {0}}};
  for (const DType dtype : kDtypes) {
    for (const Case& k : cases) {
      const TensorType result{dtype, k.result};
      expect_same({cpu::broadcast,
                   reference::broadcast,
                   {sample(dtype, k.shape)},
                   {result},
                   {{"shape", k.result}, {"dims", k.dims}}},
                  "broadcast " + to_string(k.result));
      expect_same({cpu::fill, reference::fill, {}, {result}, {{"value", 3.0}}},
                  "fill " + to_string(result));
      const TensorType flat{dtype, {result.elements()}};
      expect_same({cpu::reshape, reference::reshape, {sample(dtype, k.result)}, {flat}},
                  "reshape " + to_string(result));
    }
  }
  const TensorType ints{DType::int64, {3}};
  expect_same({cpu::fill, reference::fill, {}, {ints}, {{"value", -2.9}}}, "fill truncates");
}

TEST(Copy, CacheWrite) {
  for (const DType dtype : fast_dtypes()) {
    const Shape cache{3, 10, 2, 7}, update{3, 4, 2, 7};
    // A position twice (the later row stays), and positions beyond the cache (nothing happens).
    const Tensor positions = of({DType::int32, {3, 4}}, {0, 1, 2, 3, 9, 5, 5, 0, -1, 10, 4, 6});
    for (const bool in_place : {false, true}) {
      SweepCase c{cpu::cache_write,
                  reference::cache_write,
                  {sample(dtype, cache, 1), sample(dtype, update, 2), positions},
                  {{dtype, cache}}};
      if (in_place) c.share = {{0, 0}};
      expect_same(c, "cache_write");
    }
  }
}

}  // namespace
}  // namespace bessemer::testing
