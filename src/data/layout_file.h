// A layout in a file: what is too large to be held in memory, and would take long to make at each
// start. Little-endian, without padding:
//
//   parts      {u64 begin, u32 stream, u32 count}[P]  of all sequences
//   first      u64[S + 1]  of each sequence its first part, and P
//   footer     u64 P, u64 S, u64 positions without a token, u64 tokens of all streams,
//              8 bytes "BSMLAYO1", 32 bytes of the digest of what it was made from
//
// It is a cache: without it, or with another digest, the layout is made again.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "data/layout.h"

namespace bessemer::data {

/// The layout in the file `path`; none where there is no file, or one of another digest or none of
/// this kind. Its parts are read at each use; InputError where they cannot be parts of sequences of
/// `length` from streams with ids below `streams`.
std::unique_ptr<const Layout> open_layout(const std::filesystem::path& path,
                                          const std::string& digest, std::int64_t length,
                                          std::uint64_t streams);

/// Makes the file, whole or not at all. InputError names it.
void write_layout(const Streams& streams, const LayoutOptions& options,
                  const std::filesystem::path& path, const std::string& digest);

}  // namespace bessemer::data
