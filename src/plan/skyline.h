// The upper border of what is placed so far: for each instant the height up to which it is filled.
#pragma once

#include <cstddef>
#include <vector>

namespace bessemer::plan {

/// The skyline as stretches of equal height, no two neighbours alike. Instants are 0 to
/// instants − 1. Each operation takes O(log instants) and allocates nothing.
class Skyline {
 public:
  explicit Skyline(int instants);

  /// All of it at height 0.
  void flatten();

  struct Stretch {
    int first = 0;
    int last = 0;
    std::size_t height = 0;
  };
  /// The lowest stretch, the earliest of several.
  Stretch lowest() const;

  /// Lifts [first, last] within `stretch` by `bytes`.
  void cover(const Stretch& stretch, int first, int last, std::size_t bytes);

  /// Lifts the whole stretch to the lower of its neighbours. It must have one.
  void raise(const Stretch& stretch);

 private:
  void put(int first, int last, std::size_t height);
  void set_height(int first, std::size_t height);
  std::size_t height(int first) const {
    return heights_[static_cast<std::size_t>(leaves_ + first)];
  }

  int instants_;
  int leaves_;                           // a power of two
  std::vector<std::size_t> heights_;     // tree of minima over the starts of stretches
  std::vector<int> last_of_, first_of_;  // of the stretch that starts, that ends, at an instant
};

}  // namespace bessemer::plan
