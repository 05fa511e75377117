#include "train/mixture_stages.h"

#include <set>

namespace bessemer::train {
namespace {

enum class Side { before, from };

/// The weight of a source at `step`, or just before it.
double weight_at(const config::DataSource& source, std::int64_t step, Side side) {
  double weight = source.weight;
  for (const config::WeightChange& change : source.weight_changes) {
    const bool begun = side == Side::from ? change.ramp_from <= step : change.ramp_from < step;
    const bool over = side == Side::from ? change.from <= step : change.from < step;
    if (!begun) break;
    if (over) {
      weight = change.weight;
      continue;
    }
    const double share = static_cast<double>(step - change.ramp_from) /
                         static_cast<double>(change.from - change.ramp_from);
    return weight + share * (change.weight - weight);
  }
  return weight;
}

std::vector<double> weights_at(const std::vector<config::DataSource>& sources, std::int64_t step,
                               Side side) {
  std::vector<double> weights;
  for (const config::DataSource& source : sources) weights.push_back(weight_at(source, step, side));
  return weights;
}

}  // namespace

std::vector<data::MixtureStage> mixture_stages(const std::vector<config::DataSource>& sources,
                                               std::int64_t sequences_per_step) {
  std::set<std::int64_t> steps{1};
  for (const config::DataSource& source : sources) {
    for (const config::WeightChange& change : source.weight_changes) {
      steps.insert(change.ramp_from);
      steps.insert(change.from);
    }
  }
  std::vector<data::MixtureStage> stages;
  for (auto at = steps.begin(); at != steps.end(); ++at) {
    data::MixtureStage stage;
    stage.first = static_cast<std::uint64_t>((*at - 1) * sequences_per_step);
    stage.weights = weights_at(sources, *at, Side::from);
    if (const auto next = std::next(at); next != steps.end()) {
      std::vector<double> end = weights_at(sources, *next, Side::before);
      if (end != stage.weights) stage.to = std::move(end);
    }
    stages.push_back(std::move(stage));
  }
  return stages;
}

}  // namespace bessemer::train
