#include "data/loss_mask.h"

#include <array>
#include <cstring>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "data/indexed_dataset.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "BSMLOSS1";
constexpr std::size_t kFooter = 2 * sizeof(std::uint64_t);
constexpr std::size_t kBufferBytes = 1 << 16;

}  // namespace

fs::path loss_path(const fs::path& prefix) {
  fs::path path = bin_path(prefix);
  return path.replace_extension(".loss");
}

LossMaskWriter::LossMaskWriter(const fs::path& prefix)
    : path_(loss_path(prefix)), file_(std::make_unique<FileWriter>(partial_path(path_))) {
  file_->write(kMagic);
}

LossMaskWriter::~LossMaskWriter() {
  if (finished_) return;
  file_.reset();
  std::error_code ignored;
  fs::remove(partial_path(path_), ignored);
}

void LossMaskWriter::append(std::span<const std::uint8_t> trained) {
  for (const std::uint8_t bit : trained) {
    const unsigned place = tokens_++ % 8;
    if (place == 0) {
      if (bits_.size() == kBufferBytes) flush();
      bits_.push_back(0);
    }
    bits_.back() = static_cast<std::uint8_t>(bits_.back() | bit << place);
    trained_ += bit;
  }
}

void LossMaskWriter::flush() {
  file_->write(std::as_bytes(std::span(bits_)));
  bits_.clear();
}

void LossMaskWriter::close() {
  flush();
  const std::array<std::uint64_t, 2> footer{tokens_, trained_};
  file_->write(std::as_bytes(std::span(footer)));
  file_->close();
  file_.reset();
}

void LossMaskWriter::finish() {
  if (file_) close();
  put_in_place(path_);
  finished_ = true;
}

std::shared_ptr<const LossMask> LossMask::open(const fs::path& prefix, std::uint64_t tokens) {
  const fs::path path = loss_path(prefix);
  std::error_code code;
  const bool there = fs::exists(path, code);
  if (code) fail_input("{}: cannot look for it: {}", path.string(), code.message());
  if (!there) return nullptr;
  return std::shared_ptr<const LossMask>(new LossMask(path, tokens));
}

LossMask::LossMask(const fs::path& path, std::uint64_t tokens) : file_(path) {
  const std::size_t bits = static_cast<std::size_t>((tokens + 7) / 8);
  std::array<char, kMagic.size()> magic{};
  std::array<std::uint64_t, 2> footer{};
  const bool sized = file_.size() == kMagic.size() + bits + kFooter;
  if (sized) {
    file_.read(0, std::as_writable_bytes(std::span(magic)));
    file_.read(kMagic.size() + bits, std::as_writable_bytes(std::span(footer)));
  }
  const bool good = sized && std::string_view(magic.data(), magic.size()) == kMagic &&
                    footer[0] == tokens && footer[1] <= tokens;
  require_input(good,
                "{}: not the loss mask of the {} tokens beside it, or cut short; remove the "
                "source's token files, and they are built anew",
                path.string(), tokens);
  trained_ = footer[1];
}

void LossMask::apply(std::uint64_t first, std::span<std::int32_t> targets) const {
  if (targets.empty()) return;
  const std::uint64_t from = first / 8, to = (first + targets.size() + 7) / 8;
  std::vector<std::byte> bits(static_cast<std::size_t>(to - from));
  file_.read(kMagic.size() + static_cast<std::size_t>(from), bits);
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const std::uint64_t at = first + t - from * 8;
    const auto byte = static_cast<unsigned>(bits[static_cast<std::size_t>(at / 8)]);
    if ((byte >> (at % 8) & 1u) == 0) targets[t] = -1;
  }
}

}  // namespace bessemer::data
