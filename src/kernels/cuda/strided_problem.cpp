#include "kernels/cuda/strided_problem.h"

#include <algorithm>
#include <numeric>

#include "base/rounding.h"
#include "kernels/cuda/divisor.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr std::int64_t kWidest = 16;

std::vector<StridedDimension> merged(const StridedProblem& problem) {
  std::vector<StridedDimension> inner_first;
  for (std::size_t d = problem.dimensions.size(); d-- > 0;) {
    const StridedDimension& outer = problem.dimensions[d];
    if (outer.size == 1) continue;
    StridedDimension* inner = inner_first.empty() ? nullptr : &inner_first.back();
    const bool runs_on = inner != nullptr && outer.from == inner->from * inner->size &&
                         outer.to == inner->to * inner->size;
    if (runs_on) {
      inner->size *= outer.size;
    } else {
      inner_first.push_back(outer);
    }
  }
  if (inner_first.empty()) inner_first.push_back({1, problem.element, problem.element});
  return {inner_first.rbegin(), inner_first.rend()};
}

/// The first `at` of dimension `d`, and the rest.
std::vector<StridedProblem> split(const StridedProblem& problem, std::size_t d, std::int64_t at) {
  StridedProblem first = problem, rest = problem;
  first.dimensions[d].size = at;
  rest.dimensions[d].size -= at;
  rest.from_begin += at * rest.dimensions[d].from;
  rest.to_begin += at * rest.dimensions[d].to;
  std::vector<StridedProblem> parts = parts_of(first);
  for (StridedProblem& part : parts_of(rest)) parts.push_back(std::move(part));
  return parts;
}

}  // namespace

std::int64_t StridedProblem::count() const {
  std::int64_t elements = 1;
  for (const StridedDimension& d : dimensions) elements *= d.size;
  return elements;
}

std::vector<StridedProblem> parts_of(const StridedProblem& whole) {
  if (whole.count() == 0) return {};
  StridedProblem problem = whole;
  problem.dimensions = merged(whole);
  const std::int64_t size = problem.inner().size;
  if (problem.count() >= Divisor::kLimit) {
    const auto longest =
        std::max_element(problem.dimensions.begin(), problem.dimensions.end(),
                         [](const auto& a, const auto& b) { return a.size < b.size; });
    const std::int64_t half = longest->size / 2;
    return split(problem, static_cast<std::size_t>(longest - problem.dimensions.begin()),
                 longest->size > kWidest ? round_up(half, kWidest) : half);
  }
  const bool one_row = problem.dimensions.size() == 1 && problem.inner().to == problem.element;
  const std::int64_t even = size / kWidest * kWidest;
  if (one_row && even > 0 && size * problem.element % kWidest != 0) return split(problem, 0, even);
  return {problem};
}

bool is_aligned(const StridedProblem& problem, std::int64_t bytes) {
  const auto fits = [&](std::int64_t stride) {
    return stride == problem.element || stride % bytes == 0;
  };
  return problem.from_begin % bytes == 0 && problem.to_begin % bytes == 0 &&
         std::all_of(problem.dimensions.begin(), problem.dimensions.end(),
                     [&](const StridedDimension& d) { return fits(d.from) && fits(d.to); });
}

std::int64_t widest_unit(const StridedProblem& problem) {
  const StridedDimension& row = problem.inner();
  if (row.to != problem.element || row.from != problem.element) return problem.element;
  std::int64_t unit = std::gcd(kWidest, row.size * problem.element);
  unit = std::gcd(unit, std::gcd(problem.from_begin, problem.to_begin));
  for (std::size_t d = 0; d + 1 < problem.dimensions.size(); ++d) {
    unit = std::gcd(unit, std::gcd(problem.dimensions[d].from, problem.dimensions[d].to));
  }
  return unit;
}

}  // namespace bessemer::kernels::cuda
