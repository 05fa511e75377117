#include "plan/orders.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace bessemer::plan {
namespace {

using Key = std::pair<double, double>;  // greater first

// Bytes alive at the fullest instant of a life.
double heat(const Life& life, const SkylinePacker& packer) {
  const auto begin = packer.live().begin();
  return static_cast<double>(*std::max_element(begin + life.first, begin + life.last + 1));
}

Key key_of(OrderRule rule, std::size_t block, const SkylinePacker& packer) {
  const Life& life = packer.lives()[block];
  const double bytes = static_cast<double>(packer.bytes()[block]);
  const double length = life.last - life.first + 1;
  switch (rule) {
    case OrderRule::area: return {bytes * length, 0};
    case OrderRule::life: return {length, bytes};
    case OrderRule::life_and_size: return {length * std::sqrt(bytes), 0};
    case OrderRule::size_and_life: return {bytes * std::sqrt(length), 0};
    case OrderRule::size: return {bytes, length};
    case OrderRule::heat: return {heat(life, packer), bytes * length};
  }
  return {};
}

}  // namespace

std::vector<int> order_by(OrderRule rule, const SkylinePacker& packer) {
  std::vector<Key> keys(packer.bytes().size());
  for (std::size_t b = 0; b < keys.size(); ++b) keys[b] = key_of(rule, b, packer);
  std::vector<int> order(keys.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return keys[static_cast<std::size_t>(a)] > keys[static_cast<std::size_t>(b)];
  });
  return order;
}

}  // namespace bessemer::plan
