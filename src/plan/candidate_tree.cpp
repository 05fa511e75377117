#include "plan/candidate_tree.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <numeric>
#include <utility>

namespace bessemer::plan {
namespace {

constexpr int kNever = std::numeric_limits<int>::max();

std::size_t index(int i) { return static_cast<std::size_t>(i); }

}  // namespace

CandidateTree::CandidateTree(std::span<const Life> lives, int instants)
    : lives_(lives.begin(), lives.end()),
      block_of_leaf_(lives.size()),
      leaf_of_block_(lives.size()),
      first_leaf_(index(instants) + 1, 0),
      leaves_(static_cast<int>(std::bit_ceil(std::max<std::size_t>(lives.size(), 1)))) {
  std::iota(block_of_leaf_.begin(), block_of_leaf_.end(), 0);
  std::stable_sort(block_of_leaf_.begin(), block_of_leaf_.end(),
                   [&](int a, int b) { return lives_[index(a)].first < lives_[index(b)].first; });
  for (std::size_t leaf = 0; leaf < lives.size(); ++leaf) {
    leaf_of_block_[index(block_of_leaf_[leaf])] = static_cast<int>(leaf);
  }
  for (const Life& life : lives_) ++first_leaf_[index(life.first) + 1];
  std::partial_sum(first_leaf_.begin(), first_leaf_.end(), first_leaf_.begin());
  nodes_.assign(2 * index(leaves_), {kNever, kNever});
}

CandidateTree::Node CandidateTree::least(const Node& a, const Node& b) {
  return {std::min(a.last, b.last), std::min(a.rank, b.rank)};
}

void CandidateTree::fill(std::span<const int> rank) {
  for (std::size_t leaf = 0; leaf < block_of_leaf_.size(); ++leaf) {
    const std::size_t block = index(block_of_leaf_[leaf]);
    nodes_[index(leaves_) + leaf] = {lives_[block].last, rank[block]};
  }
  for (std::size_t n = index(leaves_) - 1; n > 0; --n) {
    nodes_[n] = least(nodes_[2 * n], nodes_[2 * n + 1]);
  }
}

void CandidateTree::remove(int block) {
  std::size_t n = index(leaves_ + leaf_of_block_[index(block)]);
  nodes_[n] = {kNever, kNever};
  for (n /= 2; n > 0; n /= 2) {
    const Node both = least(nodes_[2 * n], nodes_[2 * n + 1]);
    if (nodes_[n] == both) return;  // and so is all above
    nodes_[n] = both;
  }
}

int CandidateTree::find(int first, int last) {
  query_ = {first_leaf_[index(first)], first_leaf_[index(last) + 1], last, kNever, -1};
  if (query_.begin < query_.end) search(1, 0, leaves_);
  return query_.leaf < 0 ? -1 : block_of_leaf_[index(query_.leaf)];
}

void CandidateTree::search(int node, int begin, int end) {
  ++visited_;
  const Node& here = nodes_[index(node)];
  const bool outside = end <= query_.begin || query_.end <= begin;
  if (outside || here.last > query_.last || here.rank >= query_.rank) return;
  if (node >= leaves_) {
    query_.rank = here.rank;
    query_.leaf = node - leaves_;
    return;
  }
  const int middle = begin + (end - begin) / 2, left = 2 * node, right = left + 1;
  // The side of the better rank first: what it gives may rule out the other.
  if (nodes_[index(left)].rank < nodes_[index(right)].rank) {
    search(left, begin, middle);
    search(right, middle, end);
  } else {
    search(right, middle, end);
    search(left, begin, middle);
  }
}

}  // namespace bessemer::plan
