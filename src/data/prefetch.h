// How far ahead sequences are read, and by how many workers: from what reading them was measured
// to cost.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace bessemer::data {

/// One source, as measured so far.
struct SourceLoad {
  double rows_per_step = 0;
  double mean_seconds = 0;     // of reading a row, of late
  double longest_seconds = 0;  // of late
};

/// Rows that a node keeps read ahead.
struct PrefetchBounds {
  std::size_t least = 1;  // what a step cannot do without
  std::size_t most = 1;   // what the memory holds
};

/// A step of `rows` rows of this node, `ranks` ranks on it. One step at least, so that all of it is
/// read while the step before runs; ranks that wait for each other may be a step apart, so two with
/// several. Else as many as fit in `bytes`, up to 256 steps.
PrefetchBounds prefetch_bounds(std::size_t rows, std::int64_t ranks, std::size_t row_bytes,
                               std::size_t bytes);

/// Whether a wait of a step counts: more than a fiftieth of the time the step took besides, and
/// more than a thread takes to be woken.
bool is_noticeable(double wait_seconds, double step_seconds);

/// Workers that read a source's part of a step in the time a step takes, with a quarter to spare;
/// 1 to `most`. Of the `present` ones none is let go before half of what is left would do.
/// `step_seconds`, without waiting for data, is 0 where it is not known yet.
int workers_for(const SourceLoad& source, double step_seconds, int present, int most);

/// Rows to read ahead: a step, and as many more steps as pass while a source takes its longest; at
/// least as many as before (`depth`), and twice that after a step that had to wait.
std::size_t depth_for(std::span<const SourceLoad> sources, double step_seconds,
                      std::size_t rows_per_step, bool waited, std::size_t depth,
                      const PrefetchBounds& bounds);

}  // namespace bessemer::data
