#include "data/row_process.h"

#include <cerrno>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"

extern "C" char** environ;

namespace bessemer::data {
namespace {

constexpr int kSocket = 3, kMemory = 4;
constexpr int kAbove = 16;  // our own descriptors, so that those of the process never meet them

enum class Outcome : std::uint32_t { read, input_error, error };

struct Reply {
  std::int64_t valid = 0;
  Outcome outcome = Outcome::read;
  char text[1012] = {};  // of the error, cut where it is longer
};

void expect(bool good, const char* what) {
  const int code = errno;
  require(good, "cannot {}: {}", what, std::strerror(code));
}

// Moved to a number from kAbove on.
int lifted(int descriptor) {
  const int moved = ::fcntl(descriptor, F_DUPFD_CLOEXEC, kAbove);
  ::close(descriptor);
  expect(moved >= 0, "duplicate a descriptor");
  return moved;
}

int shared_memory(const char* name, std::size_t bytes) {
  const int descriptor = ::memfd_create(name, MFD_CLOEXEC);
  expect(descriptor >= 0, "make shared memory");
  const int lifted_descriptor = lifted(descriptor);
  const bool sized = ::ftruncate(lifted_descriptor, static_cast<::off_t>(bytes)) == 0;
  if (!sized) ::close(lifted_descriptor);
  expect(sized, "size shared memory");
  return lifted_descriptor;
}

std::int32_t* mapped(int descriptor, std::size_t bytes, int protection) {
  void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED, descriptor, 0);
  expect(at != MAP_FAILED, "map shared memory");
  return static_cast<std::int32_t*>(at);
}

// Sends or receives one packet whole; false where the other end is gone.
bool send_packet(int socket, const void* data, std::size_t bytes) {
  ssize_t n = 0;
  do {
    n = ::send(socket, data, bytes, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(bytes);
}

bool receive_packet(int socket, void* data, std::size_t bytes) {
  ssize_t n = 0;
  do {
    n = ::recv(socket, data, bytes, 0);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(bytes);
}

// How a process is started: destroyed in every path.
class SpawnActions {
 public:
  SpawnActions() { ::posix_spawn_file_actions_init(&actions_); }
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  void give(int descriptor, int as) {
    const int code = ::posix_spawn_file_actions_adddup2(&actions_, descriptor, as);
    require(code == 0, "cannot hand over a descriptor: {}", std::strerror(code));
  }
  // Nothing else of ours is there.
  void close_from(int descriptor) {
    const int code = ::posix_spawn_file_actions_addclosefrom_np(&actions_, descriptor);
    require(code == 0, "cannot close descriptors: {}", std::strerror(code));
  }
  const posix_spawn_file_actions_t* get() const { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

std::string text_of_end(int status) {
  if (WIFSIGNALED(status)) {
    return fmt::format("the process that reads it was ended by signal {} ({})", WTERMSIG(status),
                       ::strsignal(WTERMSIG(status)));
  }
  return fmt::format("the process that reads it ended with status {}", WEXITSTATUS(status));
}

Reply reply_of(Outcome outcome, const char* text) {
  Reply reply;
  reply.outcome = outcome;
  std::strncpy(reply.text, text, sizeof reply.text - 1);
  return reply;
}

}  // namespace

ProcessReader::ProcessReader(RowProgram program, std::int64_t sequence_length)
    : program_(std::move(program)), length_(sequence_length) {
  try {
    memory_ = shared_memory("bessemer-row", row_bytes(length_));
    row_ = mapped(memory_, row_bytes(length_), PROT_READ);
    const std::string& text = program_.description;
    description_ = shared_memory("bessemer-source", text.size());
    const ssize_t n = ::pwrite(description_, text.data(), text.size(), 0);
    expect(n == static_cast<ssize_t>(text.size()), "write shared memory");
  } catch (...) {
    if (row_ != nullptr) ::munmap(row_, row_bytes(length_));
    if (memory_ >= 0) ::close(memory_);
    if (description_ >= 0) ::close(description_);
    throw;
  }
}

ProcessReader::~ProcessReader() {
  end();
  ::munmap(row_, row_bytes(length_));
  ::close(memory_);
  ::close(description_);
}

SequenceView ProcessReader::row() const { return row_at(row_, length_); }

pid_t ProcessReader::process() const {
  const std::lock_guard lock(mutex_);
  return process_;
}

void ProcessReader::start() {
  int pair[2];
  const bool made = ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0;
  expect(made, "make a socket");
  socket_ = pair[0];
  const int theirs = lifted(pair[1]);
  std::vector<char*> argv{program_.path.data()};
  for (std::string& argument : program_.arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  SpawnActions actions;
  actions.give(theirs, kSocket);
  actions.give(memory_, kMemory);
  actions.give(description_, kDescriptionDescriptor);
  actions.close_from(kDescriptionDescriptor + 1);
  pid_t process = 0;
  const int code =
      ::posix_spawn(&process, program_.path.c_str(), actions.get(), nullptr, argv.data(), environ);
  ::close(theirs);
  if (code != 0) {
    ::close(std::exchange(socket_, -1));
    fail("cannot start {}: {}", program_.path, std::strerror(code));
  }
  const std::lock_guard lock(mutex_);
  process_ = process;
  watch_.emplace(process);
}

// Ends the process, if there is one, and tells how it ended.
std::string ProcessReader::end() {
  if (socket_ < 0) return "";
  ::close(std::exchange(socket_, -1));
  const std::lock_guard lock(mutex_);
  ::kill(process_, SIGKILL);
  int status = 0;
  while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  process_ = 0;
  watch_.reset();
  return text_of_end(status);
}

bool ProcessReader::cancel() {
  const std::lock_guard lock(mutex_);
  if (process_ > 0) ::kill(process_, SIGKILL);
  return true;
}

std::size_t ProcessReader::process_memory() const {
  const std::lock_guard lock(mutex_);
  return watch_ ? watch_->look().own() : 0;
}

std::int64_t ProcessReader::read(std::uint64_t index) {
  if (socket_ < 0) start();
  Reply reply;
  const bool answered =
      send_packet(socket_, &index, sizeof index) && receive_packet(socket_, &reply, sizeof reply);
  if (!answered) fail("{}", end());
  switch (reply.outcome) {
    case Outcome::read: return reply.valid;
    case Outcome::input_error: fail_input("{}", reply.text);
    case Outcome::error: fail("{}", reply.text);
  }
  fail("a reply of an unknown kind");
}

void serve_rows(const std::function<std::shared_ptr<const SequenceSource>()>& open) {
  // A signal to the whole process group is for the trainer, which ends in its own time.
  std::signal(SIGINT, SIG_IGN);
  std::signal(SIGTERM, SIG_IGN);
  for (const int descriptor : {kSocket, kMemory}) ::fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  struct stat info {};
  expect(::fstat(kMemory, &info) == 0, "find the shared memory of a row in descriptor 4");
  const auto bytes = static_cast<std::size_t>(info.st_size);
  std::int32_t* row = mapped(kMemory, bytes, PROT_READ | PROT_WRITE);
  std::shared_ptr<const SequenceSource> source;
  std::uint64_t index = 0;
  while (receive_packet(kSocket, &index, sizeof index)) {
    Reply reply;
    try {
      if (source == nullptr) source = open();
      const std::int64_t length = source->sequence_length();
      require(row_bytes(length) == bytes, "{} bytes for a row of {} tokens", bytes, length);
      reply.valid = source->read(index, row_at(row, length));
    } catch (const InputError& error) {
      reply = reply_of(Outcome::input_error, error.what());
    } catch (const std::exception& error) {
      reply = reply_of(Outcome::error, error.what());
    }
    if (!send_packet(kSocket, &reply, sizeof reply)) break;
  }
  ::munmap(row, bytes);
}

}  // namespace bessemer::data
