#include "runtime/file_rates.h"

#include <chrono>
#include <cstring>

#include "base/arena.h"
#include "runtime/tier_file.h"

namespace bessemer::runtime {

MeasuredFileRates measure_file_rates(const std::filesystem::path& directory) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kBytes = std::size_t{256} << 20, kPart = std::size_t{16} << 20;
  TierFile file(directory, kBytes, 1);
  const Arena part(kPart);
  std::memset(part.data(), 1, kPart);
  const auto rate = [&](const auto& move) {
    const auto start = Clock::now();
    for (std::size_t offset = 0; offset < kBytes; offset += kPart) move(offset);
    return static_cast<double>(kBytes) /
           std::chrono::duration<double>(Clock::now() - start).count();
  };
  MeasuredFileRates rates;
  rates.write = rate([&](std::size_t offset) { file.write(0, offset, {part.data(), kPart}); });
  rates.read = rate([&](std::size_t offset) { file.read(0, offset, {part.data(), kPart}); });
  return rates;
}

}  // namespace bessemer::runtime
