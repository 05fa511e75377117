#include "passes/update_mode.h"

namespace bessemer::passes {
namespace {

constexpr std::string_view kPending = "pending.";
constexpr std::string_view kNext = "next.";

}  // namespace

std::string pending_name(std::string_view parameter) {
  return std::string(kPending) + std::string(parameter);
}

bool is_pending(std::string_view name) { return name.starts_with(kPending); }

std::string next_name(std::string_view tensor) { return std::string(kNext) + std::string(tensor); }

bool is_next(std::string_view name) { return name.starts_with(kNext); }

std::string_view without_next(std::string_view name) {
  return is_next(name) ? name.substr(kNext.size()) : name;
}

}  // namespace bessemer::passes
