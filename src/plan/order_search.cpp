#include "plan/order_search.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "base/rng.h"
#include "plan/orders.h"

namespace bessemer::plan {
namespace {

constexpr std::size_t kGoodEnough = 200;  // ends at 1/200 above the lower bound
// What each of the two searches may spend: rounds, and SkylinePacker::work, of which a million is
// about 6 ms. Small sets get all it takes. Those of a training step are placed for a hundred ways
// to run it, and more rounds gain them little.
constexpr std::size_t kRounds = 5000;
constexpr std::size_t kSmall = 256;  // blocks
std::size_t work_for(std::size_t blocks) {
  return blocks <= kSmall ? 40'000'000 : std::max<std::size_t>(3'000'000, 800 * blocks);
}

std::size_t index(int i) { return static_cast<std::size_t>(i); }

class OrderSearch {
 public:
  explicit OrderSearch(SkylinePacker& packer)
      : packer_(packer),
        blocks_(packer.bytes().size()),
        bound_(*std::max_element(packer.live().begin(), packer.live().end())),
        work_(work_for(blocks_)),
        tried_(blocks_) {}

  Packing run() {
    for (const OrderRule rule : kOrderRules) {
      if (!done()) pack(order_by(rule, packer_));
    }
    squeaky_wheel();
    late_acceptance();
    return {best_.bytes, std::move(best_.offsets)};
  }

 private:
  struct Solution {
    std::size_t bytes = static_cast<std::size_t>(-1);
    std::vector<int> order;
    std::vector<std::size_t> offsets;
  };

  bool done() const { return best_.bytes <= bound_ + bound_ / kGoodEnough; }

  bool goes_on(std::size_t round, std::size_t most_work) const {
    return !done() && round < kRounds && packer_.work() < most_work;
  }

  // Leaves the offsets in tried_.
  std::size_t pack(const std::vector<int>& order) {
    const std::size_t bytes = packer_.pack(order, tried_);
    if (bytes < best_.bytes) best_ = {bytes, order, tried_};
    return bytes;
  }

  bool sticks_out(std::size_t block, const std::vector<std::size_t>& offsets) const {
    return offsets[block] + packer_.bytes()[block] > bound_;
  }

  void squeaky_wheel() {
    if (done()) return;
    std::vector<int> order = best_.order;
    std::vector<std::size_t> offsets = best_.offsets;
    std::vector<double> priority(blocks_);  // the ends of the list are 1 apart
    for (std::size_t i = 0; i < blocks_; ++i) {
      priority[index(order[i])] = static_cast<double>(blocks_ - i) / static_cast<double>(blocks_);
    }
    const std::size_t most_work = packer_.work() + work_;
    for (std::size_t round = 0; goes_on(round, most_work); ++round) {
      for (std::size_t b = 0; b < blocks_; ++b) {
        if (sticks_out(b, offsets)) priority[b] += 0.5 + 0.5 * random_.uniform(drawn_++);
      }
      std::stable_sort(order.begin(), order.end(),
                       [&](int a, int b) { return priority[index(a)] > priority[index(b)]; });
      pack(order);
      offsets = tried_;
    }
  }

  void late_acceptance() {
    if (done()) return;
    Solution at = best_;
    std::array<std::size_t, 10> earlier;  // bytes, by round
    earlier.fill(at.bytes);
    std::vector<int> order;
    const std::size_t most_work = packer_.work() + work_;
    for (std::size_t round = 0; goes_on(round, most_work); ++round) {
      order = at.order;
      move_forward_what_sticks_out(order, at.offsets);
      if (below(2) == 0) std::swap(order[below(blocks_)], order[below(blocks_)]);
      const std::size_t bytes = pack(order);
      std::size_t& then = earlier[round % earlier.size()];
      if (bytes <= at.bytes || bytes <= then) at = {bytes, order, tried_};
      then = std::min(then, at.bytes);
    }
  }

  void move_forward_what_sticks_out(std::vector<int>& order,
                                    const std::vector<std::size_t>& offsets) {
    places_.clear();
    for (std::size_t place = 0; place < blocks_; ++place) {
      if (sticks_out(index(order[place]), offsets)) places_.push_back(place);
    }
    const std::size_t from = places_[below(places_.size())];
    const auto block = order.begin() + static_cast<std::ptrdiff_t>(from);
    std::rotate(order.begin() + static_cast<std::ptrdiff_t>(below(from + 1)), block, block + 1);
  }

  std::size_t below(std::size_t n) { return random_.word(drawn_++) % n; }

  SkylinePacker& packer_;
  std::size_t blocks_;
  std::size_t bound_;
  std::size_t work_;
  Solution best_;
  std::vector<std::size_t> tried_;   // offsets of the last packing
  std::vector<std::size_t> places_;  // in an order
  CounterRng random_{0, 0, 0};
  std::uint64_t drawn_ = 0;
};

}  // namespace

Packing search_orders(SkylinePacker& packer) {
  if (packer.bytes().empty()) return {};
  return OrderSearch(packer).run();
}

}  // namespace bessemer::plan
