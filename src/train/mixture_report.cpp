#include "train/mixture_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "train/mixture_stages.h"

namespace bessemer::train {
namespace {

// Adds `sequences` turns, shared by weight.
void add_turns(const std::vector<double>& weights, double sequences, std::vector<double>& turns) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (std::size_t s = 0; s < weights.size(); ++s) turns[s] += sequences * weights[s] / sum;
}

// The turns that the first `length` of the `whole` sequences of a stage are to give.
void add_stage(const data::MixtureStage& stage, double whole, double length,
               std::vector<double>& turns) {
  if (stage.to.empty()) return add_turns(stage.weights, length, turns);
  constexpr int kPieces = 1024;  // of a ramp, each as in its middle
  std::vector<double> weights(stage.weights.size());
  for (int piece = 0; piece < kPieces; ++piece) {
    const double at = (piece + 0.5) / kPieces * length / whole;
    for (std::size_t s = 0; s < weights.size(); ++s) {
      weights[s] = stage.weights[s] + at * (stage.to[s] - stage.weights[s]);
    }
    add_turns(weights, length / kPieces, turns);
  }
}

std::vector<double> asked_turns(const config::RunConfig& config, std::uint64_t sequences) {
  const auto stages = mixture_stages(config.data.sources, *config.train.global_batch_size);
  std::vector<double> turns(config.data.sources.size(), 0.0);
  for (std::size_t i = 0; i < stages.size() && stages[i].first < sequences; ++i) {
    const std::uint64_t end = i + 1 < stages.size() ? stages[i + 1].first : sequences;
    const std::uint64_t last = std::min(end, sequences);
    add_stage(stages[i], static_cast<double>(end - stages[i].first),
              static_cast<double>(last - stages[i].first), turns);
  }
  return turns;
}

}  // namespace

std::vector<SourceShare> mixture_shares(const config::RunConfig& config,
                                        const data::MixtureSchedule& schedule,
                                        std::uint64_t sequences) {
  const std::vector<std::uint64_t> given = schedule.turns(sequences);
  const std::vector<double> asked = asked_turns(config, sequences);
  const double all = std::max(static_cast<double>(sequences), 1.0);
  std::vector<SourceShare> shares;
  for (std::size_t s = 0; s < given.size(); ++s) {
    shares.push_back({config.data.sources[s].name, given[s], static_cast<double>(given[s]) / all,
                      asked[s] / all});
  }
  return shares;
}

std::string mixture_text(const std::vector<SourceShare>& shares) {
  std::string text;
  double most = 0;
  for (const SourceShare& s : shares) {
    text += fmt::format("{} {:.2f}% (asked {:.2f}%), ", s.name, 100 * s.share, 100 * s.asked);
    most = std::max(most, std::abs(s.share - s.asked));
  }
  text.resize(text.size() - std::min<std::size_t>(text.size(), 2));
  return fmt::format("{}; at most {:.2g}% off", text, 100 * most);
}

}  // namespace bessemer::train
