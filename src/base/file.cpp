#include "base/file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace bessemer {
namespace {

[[noreturn]] void fail_system(const std::filesystem::path& path, std::string_view what) {
  const int code = errno;
  fail_input("{}: {}: {}", path.string(), what, std::strerror(code));
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags) : value(::open(path.c_str(), flags)) {}
  ~Descriptor() {
    if (value >= 0) ::close(value);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int value;
};

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const Descriptor file(path, O_RDONLY | O_CLOEXEC);
  if (file.value < 0) fail_system(path, "cannot open");
  struct stat info {};
  if (::fstat(file.value, &info) != 0) fail_system(path, "cannot read its size");
  if (!S_ISREG(info.st_mode)) fail_input("{}: not a regular file", path.string());
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.value, 0);
  if (mapped == MAP_FAILED) fail_system(path, "cannot map into memory");
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

FileReader::FileReader(const std::filesystem::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail_system(path, "cannot open");
  struct stat info {};
  if (::fstat(descriptor_, &info) == 0 && S_ISREG(info.st_mode)) {
    size_ = static_cast<std::size_t>(info.st_size);
    return;
  }
  ::close(descriptor_);
  fail_input("{}: not a regular file", path.string());
}

FileReader::~FileReader() { ::close(descriptor_); }

void FileReader::read(std::size_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = ::pread(descriptor_, out.data(), out.size(), static_cast<::off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(path_, "cannot read");
    if (n == 0) fail_input("{}: ends at byte {}; it was cut short", path_.string(), offset);
    out = out.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::size_t>(n);
  }
}

std::string read_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

FileWriter::FileWriter(const std::filesystem::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_system(path, "cannot create");
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_system(path_, "cannot write");
    written_ += static_cast<std::size_t>(n);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void FileWriter::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void FileWriter::close(Flush flush) {
  const bool flushed = flush == Flush::later || ::fsync(descriptor_) == 0;
  if (!flushed) fail_system(path_, "cannot flush to the disk");
  const int descriptor = std::exchange(descriptor_, -1);
  if (::close(descriptor) != 0) fail_system(path_, "cannot close");
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text, Flush flush) {
  std::filesystem::path temporary = path;
  temporary += ".partial";
  try {
    FileWriter writer(temporary);
    writer.write(text);
    writer.close(flush);
    if (::rename(temporary.c_str(), path.c_str()) != 0) {
      fail_system(path, "cannot rename into place");
    }
  } catch (const InputError&) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (flush == Flush::later) return;
  const auto parent = path.parent_path();
  sync_directory(parent.empty() ? "." : parent);
}

void sync_directory(const std::filesystem::path& directory) {
  const Descriptor handle(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (handle.value < 0) fail_system(directory, "cannot open directory");
  if (::fsync(handle.value) != 0) fail_system(directory, "cannot flush directory");
}

}  // namespace bessemer
