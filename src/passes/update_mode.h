// When the optimizer's update runs, and the names of the tensors that only some modes have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bessemer::passes {

enum class UpdateMode : std::uint8_t {
  synchronous,  // after the step's gradients, before the next step
  delayed,      // beside the next step: passes/delay_update.h
  speculative,  // beside backward, before the norm is known: passes/speculate_update.h
};

/// The second buffer of a parameter's gradient in a delayed run: the one that is being applied.
std::string pending_name(std::string_view parameter);
bool is_pending(std::string_view name);

/// The second place of a tensor that a speculative update replaces.
std::string next_name(std::string_view tensor);
bool is_next(std::string_view name);
/// The tensor whose second place that is; any other name as it is.
std::string_view without_next(std::string_view name);

}  // namespace bessemer::passes
