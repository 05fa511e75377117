#include "plan/skyline.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace bessemer::plan {
namespace {

constexpr std::size_t kNoStart = std::numeric_limits<std::size_t>::max();

std::size_t index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

Skyline::Skyline(int instants)
    : instants_(instants),
      leaves_(static_cast<int>(std::bit_ceil(static_cast<unsigned>(std::max(instants, 1))))),
      heights_(2 * index(leaves_), kNoStart),
      last_of_(index(instants)),
      first_of_(index(instants)) {
  flatten();
}

void Skyline::flatten() {
  std::fill(heights_.begin(), heights_.end(), kNoStart);
  if (instants_ > 0) put(0, instants_ - 1, 0);
}

void Skyline::set_height(int first, std::size_t height) {
  std::size_t n = index(leaves_ + first);
  heights_[n] = height;
  for (n /= 2; n > 0; n /= 2) {
    const std::size_t least = std::min(heights_[2 * n], heights_[2 * n + 1]);
    if (heights_[n] == least) return;  // and so is all above
    heights_[n] = least;
  }
}

Skyline::Stretch Skyline::lowest() const {
  std::size_t n = 1;
  while (n < index(leaves_)) {
    n *= 2;
    if (heights_[n] > heights_[n + 1]) ++n;
  }
  const int first = static_cast<int>(n) - leaves_;
  return {first, last_of_[index(first)], heights_[n]};
}

// A stretch in the place of what was there, joined with neighbours of the same height.
void Skyline::put(int first, int last, std::size_t height) {
  if (last + 1 < instants_ && this->height(last + 1) == height) {
    const int joined = last + 1;
    last = last_of_[index(joined)];
    set_height(joined, kNoStart);
  }
  if (first > 0 && this->height(first_of_[index(first - 1)]) == height) {
    set_height(first, kNoStart);
    first = first_of_[index(first - 1)];
  }
  last_of_[index(first)] = last;
  first_of_[index(last)] = first;
  set_height(first, height);
}

void Skyline::cover(const Stretch& stretch, int first, int last, std::size_t bytes) {
  if (stretch.first < first) {
    last_of_[index(stretch.first)] = first - 1;
    first_of_[index(first - 1)] = stretch.first;
  }
  if (last < stretch.last) {
    last_of_[index(last + 1)] = stretch.last;
    first_of_[index(stretch.last)] = last + 1;
    set_height(last + 1, stretch.height);
  }
  put(first, last, stretch.height + bytes);
}

void Skyline::raise(const Stretch& stretch) {
  std::size_t height = kNoStart;
  if (stretch.first > 0) height = this->height(first_of_[index(stretch.first - 1)]);
  if (stretch.last + 1 < instants_) height = std::min(height, this->height(stretch.last + 1));
  put(stretch.first, stretch.last, height);
}

}  // namespace bessemer::plan
