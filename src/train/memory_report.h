// What the planner of memory found, for people and for programs.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "config/run_config.h"
#include "train/memory_planner.h"
#include "train/way.h"

namespace bessemer::train {

/// What a way moves, the chunks it works in, and which ops it runs more often than `kept`, the way
/// that keeps everything.
std::string how_text(const Way& way, const Operations& operations, const Operations& kept);

/// Why a run is refused: what it needs, what the budgets give, and the remedies with their prices.
std::string refusal_text(const config::MemoryConfig& memory, const config::MemoryConfig& budgets,
                         const Price& needed, const std::vector<Remedy>& remedies);

/// The table of a frontier for people, and as JSON:
/// [{peak_bytes: {device, host, file}, step_seconds, micro_batch_size, how}].
std::string frontier_text(const std::vector<FrontierPoint>& points);
nlohmann::json frontier_json(const std::vector<FrontierPoint>& points);

}  // namespace bessemer::train
