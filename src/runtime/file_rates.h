// How fast a directory's disk is, by the file tier's own way of using it.
#pragma once

#include <filesystem>

namespace bessemer::runtime {

/// Bytes per second.
struct MeasuredFileRates {
  double read = 0;
  double write = 0;
};

/// Writes and reads a file of 256 MiB that has no name (a second on a disk of 0.5 GB/s). InputError
/// as TierFile.
MeasuredFileRates measure_file_rates(const std::filesystem::path& directory);

}  // namespace bessemer::runtime
