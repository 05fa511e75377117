// Where in the machine a value is kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace bessemer::ir {

/// Nearest to the arithmetic first. On the CPU backend `device` and `host` are two arenas of their
/// stated sizes, so that movement between them is real.
enum class Tier : std::uint8_t { device, host, file };

inline constexpr std::size_t kTiers = 3;

inline std::size_t index_of(Tier tier) { return static_cast<std::size_t>(tier); }

std::string_view name_of(Tier tier);
std::optional<Tier> parse_tier(std::string_view name);

}  // namespace bessemer::ir
