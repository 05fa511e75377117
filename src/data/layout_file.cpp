#include "data/layout_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <system_error>

#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "data/record_writer.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

constexpr std::array<char, 8> kMagic{'B', 'S', 'M', 'L', 'A', 'Y', 'O', '1'};

struct Footer {
  std::uint64_t parts = 0, sequences = 0, padding = 0, tokens = 0;
  std::array<char, 8> magic = kMagic;
  std::array<char, 32> digest{};
};
static_assert(sizeof(Footer) == 72 && sizeof(Part) == 16);

std::array<char, 32> to_array(const std::string& digest) {
  std::array<char, 32> bytes{};
  std::copy_n(digest.begin(), std::min(digest.size(), bytes.size()), bytes.begin());
  return bytes;
}

class StoredLayout final : public Layout {
 public:
  StoredLayout(const fs::path& path, std::uint64_t length, std::uint64_t streams)
      : path_(path), file_(path), length_(length), streams_(streams) {
    if (file_.size() < sizeof footer_) return;
    file_.read(file_.size() - sizeof footer_, std::as_writable_bytes(std::span(&footer_, 1)));
  }

  /// Whether this is the layout of that digest, and whole.
  bool is(const std::string& digest) const {
    const std::uint64_t size = file_.size();
    const bool bounded = footer_.parts <= size / sizeof(Part) && footer_.sequences < size / 8;
    return footer_.magic == kMagic && footer_.digest == to_array(digest) && bounded &&
           size == footer_.parts * sizeof(Part) + (footer_.sequences + 1) * 8 + sizeof footer_;
  }

  std::uint64_t sequences() const override { return footer_.sequences; }
  std::uint64_t padding() const override { return footer_.padding; }
  std::uint64_t tokens() const override { return footer_.tokens; }

  void visit(std::uint64_t sequence, const PartVisitor& visitor) const override {
    std::array<std::uint64_t, 2> bounds;
    file_.read(footer_.parts * sizeof(Part) + sequence * 8,
               std::as_writable_bytes(std::span(bounds)));
    check(bounds[0] < bounds[1] && bounds[1] <= footer_.parts, sequence);
    std::uint64_t filled = 0;
    std::array<Part, 64> block;
    for (std::uint64_t at = bounds[0]; at < bounds[1];) {
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(bounds[1] - at, 64));
      const auto parts = std::span(block).first(count);
      file_.read(at * sizeof(Part), std::as_writable_bytes(parts));
      for (const Part& part : parts) {
        filled += part.count;
        check(part.stream < streams_ && part.count > 0 && filled <= length_, sequence);
        visitor(part);
      }
      at += count;
    }
  }

 private:
  void check(bool good, std::uint64_t sequence) const {
    require_input(good, "{}: sequence {}: damaged; remove the file, and it is made anew",
                  path_.string(), sequence);
  }

  fs::path path_;
  FileReader file_;
  std::uint64_t length_, streams_;
  Footer footer_;
};

/// A name of this process alone: two runs may make the same layout.
fs::path temporary_path(const fs::path& path, const char* what) {
  return path.string() + fmt::format(".{}-{}.partial", what, ::getpid());
}

/// The places of the first parts wait in a file of their own until the parts are all there.
class LayoutWriter final : public PartSink {
 public:
  LayoutWriter(const fs::path& path, std::uint64_t length)
      : path_(path),
        parts_path_(temporary_path(path, "parts")),
        firsts_path_(temporary_path(path, "firsts")),
        length_(length),
        parts_(parts_path_),
        firsts_(firsts_path_) {}
  LayoutWriter(const LayoutWriter&) = delete;
  LayoutWriter& operator=(const LayoutWriter&) = delete;
  ~LayoutWriter() override {
    std::error_code ignored;
    fs::remove(parts_path_, ignored);
    fs::remove(firsts_path_, ignored);
  }

  void begin_sequence() override {
    firsts_.put(footer_.parts);
    ++footer_.sequences;
  }
  void add(const Part& part) override {
    parts_.put(part);
    ++footer_.parts;
    filled_ += part.count;
  }

  void finish(std::uint64_t tokens, const std::string& digest) {
    firsts_.put(footer_.parts);
    firsts_.close(Flush::later);
    copy_firsts();
    footer_.padding = footer_.sequences * length_ - filled_;
    footer_.tokens = tokens;
    footer_.digest = to_array(digest);
    parts_.put(footer_);
    parts_.close(Flush::to_disk);
    std::error_code code;
    fs::rename(parts_path_, path_, code);
    if (code) fail_input("{}: cannot rename into place: {}", path_.string(), code.message());
  }

 private:
  void copy_firsts() {
    const FileReader firsts(firsts_path_);
    std::vector<std::byte> block(1 << 20);
    for (std::size_t at = 0; at < firsts.size(); at += block.size()) {
      block.resize(std::min(block.size(), firsts.size() - at));
      firsts.read(at, block);
      parts_.write(block);
    }
  }

  fs::path path_, parts_path_, firsts_path_;
  std::uint64_t length_;
  std::uint64_t filled_ = 0;
  Footer footer_;
  RecordWriter parts_, firsts_;
};

}  // namespace

std::unique_ptr<const Layout> open_layout(const fs::path& path, const std::string& digest,
                                          std::int64_t length, std::uint64_t streams) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return nullptr;
  auto layout =
      std::make_unique<const StoredLayout>(path, static_cast<std::uint64_t>(length), streams);
  if (!layout->is(digest)) return nullptr;
  return layout;
}

void write_layout(const Streams& streams, const LayoutOptions& options, const fs::path& path,
                  const std::string& digest) {
  std::error_code ignored;  // what is wrong with it is told below
  fs::create_directories(path.parent_path(), ignored);
  LayoutWriter writer(path, static_cast<std::uint64_t>(options.length));
  const std::uint64_t tokens = lay_out(streams, options, writer);
  writer.finish(tokens, digest);
}

}  // namespace bessemer::data
