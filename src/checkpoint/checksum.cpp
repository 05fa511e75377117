#include "checkpoint/checksum.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "base/error.h"

namespace bessemer::checkpoint {
namespace {

XXH3_state_t* as_state(void* state) { return static_cast<XXH3_state_t*>(state); }

}  // namespace

Checksum::Checksum() : state_(XXH3_createState()) {
  require(state_ != nullptr, "out of memory for a checksum");
  XXH3_64bits_reset(as_state(state_));
}

Checksum::~Checksum() { XXH3_freeState(as_state(state_)); }

void Checksum::update(std::span<const std::byte> bytes) {
  XXH3_64bits_update(as_state(state_), bytes.data(), bytes.size());
}

std::string Checksum::text() const {
  return fmt::format("{:016x}", XXH3_64bits_digest(as_state(state_)));
}

std::string checksum_of(std::span<const std::byte> bytes) {
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

std::string checksum_of(std::string_view text) {
  return checksum_of(std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace bessemer::checkpoint
