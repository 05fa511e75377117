#include "data/byte_stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/error.h"

namespace bessemer::data {
namespace {

constexpr std::size_t kChunk = 1 << 18;

class MemoryStream final : public ByteStream {
 public:
  explicit MemoryStream(std::string_view bytes) : bytes_(bytes) {}

  std::size_t read(std::span<char> out) override {
    const std::size_t n = std::min(out.size(), bytes_.size() - position_);
    std::copy_n(bytes_.data() + position_, n, out.data());
    position_ += n;
    return n;
  }
  std::uint64_t consumed() const override { return position_; }

 private:
  std::string_view bytes_;
  std::size_t position_ = 0;
};

class FileStream final : public ByteStream {
 public:
  explicit FileStream(const std::filesystem::path& path)
      : path_(path), descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) fail_input("{}: cannot open: {}", path.string(), std::strerror(errno));
    ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~FileStream() override { ::close(descriptor_); }
  FileStream(const FileStream&) = delete;
  FileStream& operator=(const FileStream&) = delete;

  std::size_t read(std::span<char> out) override {
    while (true) {
      const ssize_t n = ::read(descriptor_, out.data(), out.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        fail_input("{}: byte {}: cannot read: {}", path_.string(), consumed_, std::strerror(errno));
      }
      consumed_ += static_cast<std::uint64_t>(n);
      return static_cast<std::size_t>(n);
    }
  }
  void skip(std::uint64_t n) override {
    consumed_ += n;
    if (::lseek(descriptor_, static_cast<::off_t>(consumed_), SEEK_SET) < 0) {
      fail_input("{}: byte {}: cannot read: {}", path_.string(), consumed_, std::strerror(errno));
    }
  }
  std::uint64_t consumed() const override { return consumed_; }

 private:
  std::filesystem::path path_;
  int descriptor_;
  std::uint64_t consumed_ = 0;
};

/// The compressed bytes in front of a decoder.
class CompressedInput {
 public:
  explicit CompressedInput(const std::filesystem::path& path) : file_(path), buffer_(kChunk) {}

  /// The bytes not yet taken; empty only at the end of the file.
  std::span<char> window() {
    if (begin_ == end_) {
      begin_ = 0;
      end_ = file_.read(buffer_);
    }
    return std::span(buffer_).subspan(begin_, end_ - begin_);
  }
  void take(std::size_t n) { begin_ += n; }
  std::uint64_t consumed() const { return file_.consumed() - (end_ - begin_); }

 private:
  FileStream file_;
  std::vector<char> buffer_;
  std::size_t begin_ = 0, end_ = 0;
};

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(const std::filesystem::path& path) : name_(path.string()), input_(path) {
    constexpr int kGzipWindow = 15 + 16;  // zlib: the largest window, gzip framing
    require(::inflateInit2(&state_, kGzipWindow) == Z_OK, "zlib cannot start");
  }
  ~GzipStream() override { ::inflateEnd(&state_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  std::size_t read(std::span<char> out) override {
    state_.next_out = reinterpret_cast<Bytef*>(out.data());
    state_.avail_out = static_cast<uInt>(std::min<std::size_t>(out.size(), kChunk));
    const uInt asked = state_.avail_out;
    while (state_.avail_out == asked) {
      const auto window = input_.window();
      if (window.empty()) {
        require_input(!in_member_, "{}: byte {}: the gzip data end early; fetch the file again",
                      name_, consumed());
        return 0;
      }
      inflate_some(window);
    }
    return asked - state_.avail_out;
  }
  std::uint64_t consumed() const override { return input_.consumed(); }

 private:
  void inflate_some(std::span<char> window) {
    state_.next_in = reinterpret_cast<Bytef*>(window.data());
    state_.avail_in = static_cast<uInt>(window.size());
    in_member_ = true;
    const int code = ::inflate(&state_, Z_NO_FLUSH);
    input_.take(window.size() - state_.avail_in);
    if (code == Z_STREAM_END) {
      in_member_ = false;
      ::inflateReset(&state_);
    } else if (code != Z_OK) {
      fail_input("{}: byte {}: not valid gzip data ({}); fetch the file again", name_, consumed(),
                 state_.msg != nullptr ? state_.msg : "no progress");
    }
  }

  std::string name_;
  CompressedInput input_;
  z_stream state_{};
  bool in_member_ = false;
};

class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(const std::filesystem::path& path)
      : name_(path.string()), input_(path), state_(ZSTD_createDStream()) {
    require(state_ != nullptr, "zstd cannot start");
    constexpr int kLargestWindowLog = 31;  // files of `zstd --long=31` decode too
    ZSTD_DCtx_setParameter(state_, ZSTD_d_windowLogMax, kLargestWindowLog);
  }
  ~ZstdStream() override { ZSTD_freeDStream(state_); }
  ZstdStream(const ZstdStream&) = delete;
  ZstdStream& operator=(const ZstdStream&) = delete;

  std::size_t read(std::span<char> out) override {
    ZSTD_outBuffer produced{out.data(), out.size(), 0};
    while (produced.pos == 0) {
      const auto window = input_.window();
      if (window.empty() && pending_ == 0) return 0;
      ZSTD_inBuffer given{window.data(), window.size(), 0};
      const std::size_t before = produced.pos;
      pending_ = ZSTD_decompressStream(state_, &produced, &given);
      input_.take(given.pos);
      if (ZSTD_isError(pending_)) {
        fail_input("{}: byte {}: not valid zstd data ({}); fetch the file again", name_, consumed(),
                   ZSTD_getErrorName(pending_));
      }
      require_input(!window.empty() || produced.pos > before || pending_ == 0,
                    "{}: byte {}: the zstd data end early; fetch the file again", name_,
                    consumed());
    }
    return produced.pos;
  }
  std::uint64_t consumed() const override { return input_.consumed(); }

 private:
  std::string name_;
  CompressedInput input_;
  ZSTD_DStream* state_;
  std::size_t pending_ = 0;  // 0: between frames
};

}  // namespace

void ByteStream::skip(std::uint64_t n) {
  std::vector<char> unwanted(static_cast<std::size_t>(std::min<std::uint64_t>(n, kChunk)));
  while (n > 0) {
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(n, unwanted.size()));
    const std::size_t got = read(std::span(unwanted).first(most));
    if (got == 0) return;
    n -= got;
  }
}

std::unique_ptr<ByteStream> open_stream(const std::filesystem::path& path) {
  const auto extension = path.extension();
  if (extension == ".gz") return std::make_unique<GzipStream>(path);
  if (extension == ".zst") return std::make_unique<ZstdStream>(path);
  return std::make_unique<FileStream>(path);
}

std::unique_ptr<ByteStream> memory_stream(std::string_view bytes) {
  return std::make_unique<MemoryStream>(bytes);
}

}  // namespace bessemer::data
