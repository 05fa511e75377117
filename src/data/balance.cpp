#include "data/balance.h"

#include <algorithm>
#include <numeric>
#include <queue>

#include "base/error.h"

namespace bessemer::data {
namespace {

using Ids = std::vector<std::uint32_t>;

struct Group {
  double cost = 0;
  Ids members;
};

double sum_of(std::span<const double> costs, const Ids& members) {
  double sum = 0;
  for (const std::uint32_t id : members) sum += costs[id];
  return sum;
}

// The costliest first; equal ones in the order of the mixture, so that the result is one.
Ids descending(std::span<const double> costs, Ids ids) {
  std::stable_sort(ids.begin(), ids.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return costs[a] > costs[b]; });
  return ids;
}

std::vector<Group> greedy(std::span<const double> costs, const Ids& ids, std::size_t groups) {
  const std::size_t room = ids.size() / groups;
  const auto fuller = [](const std::pair<double, std::size_t>& a,
                         const std::pair<double, std::size_t>& b) { return a > b; };
  std::priority_queue<std::pair<double, std::size_t>, std::vector<std::pair<double, std::size_t>>,
                      decltype(fuller)>
      emptiest(fuller);
  std::vector<Group> result(groups);
  for (std::size_t g = 0; g < groups; ++g) emptiest.emplace(0.0, g);
  for (const std::uint32_t id : descending(costs, ids)) {
    Group& group = result[emptiest.top().second];
    const std::size_t at = emptiest.top().second;
    emptiest.pop();
    group.members.push_back(id);
    group.cost += costs[id];
    if (group.members.size() < room) emptiest.emplace(group.cost, at);
  }
  return result;
}

// As many sets as there are groups, costliest first; every set has as many sequences as the others.
struct Tuple {
  std::vector<Group> groups;
  std::size_t order = 0;  // decides between equal spreads

  double spread() const { return groups.front().cost - groups.back().cost; }
  bool operator<(const Tuple& other) const {
    return spread() != other.spread() ? spread() < other.spread() : order > other.order;
  }
};

void fold(Tuple& into, Tuple&& other) {
  const std::size_t groups = into.groups.size();
  for (std::size_t g = 0; g < groups; ++g) {
    Group& from = other.groups[groups - 1 - g];
    Group& to = into.groups[g];
    to.cost += from.cost;
    to.members.insert(to.members.end(), from.members.begin(), from.members.end());
  }
  std::stable_sort(into.groups.begin(), into.groups.end(),
                   [](const Group& a, const Group& b) { return a.cost > b.cost; });
}

std::vector<Group> karmarkar_karp(std::span<const double> costs, const Ids& ids,
                                  std::size_t groups) {
  const Ids sorted = descending(costs, ids);
  std::priority_queue<Tuple> tuples;
  for (std::size_t at = 0; at < sorted.size(); at += groups) {
    Tuple tuple{{}, at};
    for (std::size_t g = 0; g < groups; ++g) {
      tuple.groups.push_back({costs[sorted[at + g]], {sorted[at + g]}});
    }
    tuples.push(std::move(tuple));
  }
  while (tuples.size() > 1) {
    Tuple widest = tuples.top();
    tuples.pop();
    Tuple next = tuples.top();
    tuples.pop();
    fold(widest, std::move(next));
    tuples.push(std::move(widest));
  }
  return tuples.top().groups;
}

// `ids` in equal numbers; the costliest group first.
std::vector<Group> split(std::span<const double> costs, const Ids& ids, std::size_t groups,
                         Balance method) {
  std::vector<Group> result =
      method == Balance::greedy ? greedy(costs, ids, groups) : karmarkar_karp(costs, ids, groups);
  for (Group& group : result) {
    std::sort(group.members.begin(), group.members.end());
    group.cost = sum_of(costs, group.members);
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const Group& a, const Group& b) { return a.cost > b.cost; });
  return result;
}

}  // namespace

double SequenceCost::operator()(std::span<const std::int64_t> parts) const {
  double cost = 0;
  for (const std::int64_t part : parts) {
    const auto length = static_cast<double>(part);
    cost += per_token * length + per_pair * length * (length + 1) / 2;
  }
  return cost;
}

std::vector<std::uint32_t> balance(std::span<const double> costs, const BatchShape& shape,
                                   Balance method) {
  require(static_cast<std::int64_t>(costs.size()) == shape.sequences() && !costs.empty(),
          "{} costs for {} ranks of {} micro-batches of {} sequences", costs.size(), shape.ranks,
          shape.micro_batches, shape.micro_batch_size);
  Ids order(costs.size());
  std::iota(order.begin(), order.end(), 0u);
  if (method == Balance::round_robin) return order;
  const std::vector<Group> ranks =
      split(costs, order, static_cast<std::size_t>(shape.ranks), method);
  for (std::int64_t r = 0; r < shape.ranks; ++r) {
    const std::vector<Group> micro_batches =
        split(costs, ranks[static_cast<std::size_t>(r)].members,
              static_cast<std::size_t>(shape.micro_batches), method);
    for (std::int64_t m = 0; m < shape.micro_batches; ++m) {
      const Ids& members = micro_batches[static_cast<std::size_t>(m)].members;
      std::copy(members.begin(), members.end(), order.begin() + shape.place(r, m, 0));
    }
  }
  return order;
}

double imbalance(std::span<const double> costs, std::span<const std::uint32_t> order,
                 const BatchShape& shape) {
  double most = 0, all = 0;
  for (std::int64_t r = 0; r < shape.ranks; ++r) {
    double cost = 0;
    for (std::int64_t m = 0; m < shape.micro_batches; ++m) {
      for (std::int64_t b = 0; b < shape.micro_batch_size; ++b) {
        cost += costs[order[static_cast<std::size_t>(shape.place(r, m, b))]];
      }
    }
    most = std::max(most, cost);
    all += cost;
  }
  return all > 0 ? most * static_cast<double>(shape.ranks) / all : 1;
}

}  // namespace bessemer::data
