// The null device's memory, streams, events and graphs.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "kernels/cuda/null/memory.h"
#include "kernels/cuda/null/stream.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda::null {
namespace {

DeviceProperties null_properties() {
  constexpr std::size_t kMemory = std::size_t{1} << 30;
  return {"null device", 90, 1, kMemory, kMemory};
}

struct NullGraph;

/// One time that an event was recorded.
struct Record {
  const NullGraph* capture;  // in which; null: none
  bool reached = false;
  std::int64_t work_before = 0;  // pieces of it that were done when it was reached
};

struct NullEvent {
  std::shared_ptr<Record> last;  // null: never
};

/// One thing on a stream: work, or a record of an event, or a wait for one.
struct Item {
  enum class Kind { work, record, wait } kind = Kind::work;
  std::function<void()> work;
  std::shared_ptr<Record> record;
};

using Queues = std::vector<std::deque<Item>>;

bool can_start(const std::deque<Item>& queue) {
  if (queue.empty()) return false;
  const Item& next = queue.front();
  return next.kind != Item::Kind::wait || next.record->reached;
}

/// Chooses among the queues that can go on. Counts the pieces of work that are done.
class Mixer {
 public:
  Mixer(StreamOrder order, std::int64_t& work_done) : order_(order), work_done_(work_done) {}

  void run_until_empty(Queues& queues, std::size_t wanted) {
    run_until(queues, [&] { return queues[wanted].empty(); });
  }

  template <typename Done>
  void run_until(Queues& queues, const Done& done) {
    while (!done()) {
      const std::size_t next = choose(queues);
      require(next < queues.size(), "streams wait for each other");
      step(queues[next]);
    }
  }

 private:
  std::size_t choose(const Queues& queues) {
    const std::size_t count = queues.size();
    const std::size_t turn = order_ == StreamOrder::in_turns ? turn_ : 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t from_front = (i + turn) % count;
      const std::size_t q =
          order_ == StreamOrder::last_stream_first ? count - 1 - from_front : from_front;
      if (!can_start(queues[q])) continue;
      turn_ = q + 1;
      return q;
    }
    return count;
  }

  void step(std::deque<Item>& queue) {
    const Item item = std::move(queue.front());
    queue.pop_front();
    if (item.kind == Item::Kind::work) {
      item.work();
      ++work_done_;
    }
    if (item.kind != Item::Kind::record) return;
    item.record->reached = true;
    item.record->work_before = work_done_;
  }

  StreamOrder order_;
  std::int64_t& work_done_;
  std::size_t turn_ = 0;  // whose it is, in turns
};

class NullDevice;

struct NullStream {
  NullDevice* device;
  std::size_t index;
};

/// Captured items by stream.
struct NullGraph {
  Queues queues;
  std::size_t origin;  // the stream that it was begun on

  /// Runs all that was captured.
  void run(StreamOrder order, std::int64_t& work_done) const {
    Queues left = queues;
    for (const std::deque<Item>& queue : left) {
      for (const Item& item : queue) {
        if (item.kind == Item::Kind::record) item.record->reached = false;
      }
    }
    Mixer(order, work_done).run_until_empty(left, origin);
  }

  /// Error where the stream that it was begun on does not wait, by itself or through others, for
  /// all that the other streams do.
  void require_joined() const {
    const std::vector<std::size_t> joined = joined_items();
    for (std::size_t s = 0; s < queues.size(); ++s) {
      const auto rest = queues[s].begin() + static_cast<std::ptrdiff_t>(joined[s]);
      const bool is_joined = std::all_of(
          rest, queues[s].end(), [](const Item& i) { return i.kind == Item::Kind::record; });
      require(is_joined, "stream {} is not joined at the end of the capture", s);
    }
  }

 private:
  /// How many items of each stream are waited for.
  std::vector<std::size_t> joined_items() const {
    std::map<const Record*, std::pair<std::size_t, std::size_t>> places;  // stream, items until it
    for (std::size_t s = 0; s < queues.size(); ++s) {
      for (std::size_t i = 0; i < queues[s].size(); ++i) {
        const Item& item = queues[s][i];
        if (item.kind == Item::Kind::record) places[item.record.get()] = {s, i + 1};
      }
    }
    std::vector<std::size_t> joined(queues.size());
    std::vector<std::pair<std::size_t, std::size_t>> found{{origin, queues[origin].size()}};
    while (!found.empty()) {
      const auto [s, until] = found.back();
      found.pop_back();
      for (std::size_t& i = joined[s]; i < until; ++i) {
        const Item& item = queues[s][i];
        if (item.kind == Item::Kind::wait) found.push_back(places.at(item.record.get()));
      }
    }
    return joined;
  }
};

class NullDevice final : public Device {
 public:
  explicit NullDevice(StreamOrder order) : mixer_(order, work_done_), order_(order) {}

  DeviceProperties properties() const override {
    DeviceProperties properties = null_properties();
    for (const auto& [memory, bytes] : on_device_) properties.free_bytes -= bytes;
    return properties;
  }

  void* allocate(std::size_t bytes) override {
    void* const memory = allocate_host(bytes);
    if (memory != nullptr) on_device_[memory] = bytes;
    return memory;
  }
  void* allocate_host(std::size_t bytes) override {
    require(!capture_, "memory is asked for while a stream is captured");
    if (bytes == 0) return nullptr;
    Memory memory = new_memory(bytes);
    std::memset(memory.get(), 0, bytes);
    void* address = memory.get();
    memory_.emplace(address, std::move(memory));
    return address;
  }
  void free(void* memory) override {
    on_device_.erase(memory);
    memory_.erase(memory);
  }
  void free_host(void* memory) override { memory_.erase(memory); }

  Stream new_stream() override {
    streams_.push_back(std::make_unique<NullStream>(NullStream{this, streams_.size()}));
    queues_.emplace_back();
    return streams_.back().get();
  }
  Event new_event() override {
    events_.push_back(std::make_unique<NullEvent>());
    return events_.back().get();
  }

  void record(Event event, Stream stream) override {
    auto record = std::make_shared<Record>(captures(stream) ? capture_.get() : nullptr);
    static_cast<NullEvent*>(event)->last = record;
    queue_of(stream).push_back({Item::Kind::record, {}, std::move(record)});
  }
  void wait(Stream stream, Event event) override {
    const std::shared_ptr<Record>& record = static_cast<NullEvent*>(event)->last;
    require(record != nullptr, "a stream waits for an event that nobody has recorded");
    if (record->capture != nullptr) {
      require(record->capture == capture_.get(),
              "a stream waits for what was recorded in another capture");
      captured_streams_.insert(index_of(stream));
    }
    require(!captures(stream) || record->capture != nullptr,
            "a captured stream waits for what was recorded outside");
    queue_of(stream).push_back({Item::Kind::wait, {}, record});
  }
  void synchronize(Stream stream) override {
    require(!captures(stream), "a stream is waited for while it is captured");
    mixer_.run_until_empty(queues_, index_of(stream));
  }
  void wait_for(Event event) override {
    const std::shared_ptr<Record> record = recorded(event);
    mixer_.run_until(queues_, [&] { return record->reached; });
  }
  bool is_there(Event event) override { return recorded(event)->reached; }
  double seconds(Event from, Event to) override {
    return 1e-6 * static_cast<double>(work_before(to) - work_before(from));
  }

  void begin_capture(Stream stream) override {
    require(!capture_, "a capture within a capture");
    capture_ = std::make_unique<NullGraph>();
    capture_->origin = index_of(stream);
    captured_streams_ = {index_of(stream)};
  }
  Graph end_capture(Stream stream) override {
    require(capture_ && capture_->origin == index_of(stream),
            "a capture ends on a stream that it was not begun on");
    graphs_.push_back(std::move(capture_));
    captured_streams_.clear();
    graphs_.back()->queues.resize(queues_.size());
    graphs_.back()->require_joined();
    return graphs_.back().get();
  }
  void launch(Graph graph, Stream stream) override {
    push(stream,
         [this, captured = static_cast<NullGraph*>(graph)] { captured->run(order_, work_done_); });
  }

  void push(Stream stream, std::function<void()> work) {
    queue_of(stream).push_back({Item::Kind::work, std::move(work), nullptr});
  }

 private:
  static std::shared_ptr<Record> recorded(Event event) {
    const std::shared_ptr<Record>& record = static_cast<NullEvent*>(event)->last;
    require(record != nullptr && record->capture == nullptr,
            "the host asks for an event that was not recorded on a stream that runs");
    return record;
  }
  static std::int64_t work_before(Event event) {
    const auto& record = static_cast<NullEvent*>(event)->last;
    require(record != nullptr && record->reached, "the time of an event that is not there yet");
    return record->work_before;
  }
  static std::size_t index_of(Stream stream) { return static_cast<NullStream*>(stream)->index; }
  bool captures(Stream stream) const {
    return capture_ && captured_streams_.contains(index_of(stream));
  }
  std::deque<Item>& queue_of(Stream stream) {
    Queues& queues = captures(stream) ? capture_->queues : queues_;
    if (queues.size() < queues_.size()) queues.resize(queues_.size());
    return queues[index_of(stream)];
  }

  std::int64_t work_done_ = 0;
  Mixer mixer_;
  StreamOrder order_;
  std::map<void*, Memory> memory_;
  std::map<void*, std::size_t> on_device_;  // bytes of what counts as the device's
  std::vector<std::unique_ptr<NullStream>> streams_;
  std::vector<std::unique_ptr<NullEvent>> events_;
  std::vector<std::unique_ptr<NullGraph>> graphs_;
  Queues queues_;
  std::unique_ptr<NullGraph> capture_;  // null: nothing is captured
  std::set<std::size_t> captured_streams_;
};

bool g_is_offered = false;  // OfferNullDevice

}  // namespace

OfferNullDevice::OfferNullDevice() { g_is_offered = true; }
OfferNullDevice::~OfferNullDevice() { g_is_offered = false; }

std::unique_ptr<Device> make_null_device(StreamOrder order) {
  return std::make_unique<NullDevice>(order);
}

void queue(Stream stream, std::function<void()> work) {
  if (stream == nullptr) return work();
  static_cast<NullStream*>(stream)->device->push(stream, std::move(work));
}

}  // namespace bessemer::kernels::cuda::null

namespace bessemer::kernels::cuda {
namespace {
constexpr const char* kWithout =
    "this program was built without CUDA; build it with `make cuda` where the CUDA toolkit is "
    "installed";
}

void copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  if (bytes == 0) return;
  null::queue(stream, [=] { std::memcpy(to, from, bytes); });
}

Devices find_devices() {
  if (null::g_is_offered) return {{null::null_properties()}, "", ""};
  return {{}, kWithout, ""};
}

Survey survey() { return {find_devices(), {}}; }

std::unique_ptr<Device> open_device(int) {
  if (null::g_is_offered) return null::make_null_device();
  throw InputError(kWithout);
}

}  // namespace bessemer::kernels::cuda
