// The null device's memory, streams, events and graphs.
#include <algorithm>
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

struct NullGraph;

/// One time that an event was recorded.
struct Record {
  const NullGraph* capture;  // in which; null: none
  bool reached = false;
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

void step(std::deque<Item>& queue) {
  const Item item = std::move(queue.front());
  queue.pop_front();
  if (item.kind == Item::Kind::work) item.work();
  if (item.kind == Item::Kind::record) item.record->reached = true;
}

/// Chooses among the queues that can go on.
class Mixer {
 public:
  explicit Mixer(StreamOrder order) : order_(order) {}

  void run_until_empty(Queues& queues, std::size_t wanted) {
    while (!queues[wanted].empty()) {
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

  StreamOrder order_;
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
  void run(StreamOrder order) const {
    Queues left = queues;
    for (const std::deque<Item>& queue : left) {
      for (const Item& item : queue) {
        if (item.kind == Item::Kind::record) item.record->reached = false;
      }
    }
    Mixer(order).run_until_empty(left, origin);
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
  explicit NullDevice(StreamOrder order) : mixer_(order), order_(order) {}

  DeviceProperties properties() const override { return {"null device", 80, 1, 0, 0}; }

  void* allocate(std::size_t bytes) override {
    require(!capture_, "memory is asked for while a stream is captured");
    if (bytes == 0) return nullptr;
    Memory memory = new_memory(bytes);
    std::memset(memory.get(), 0, bytes);
    void* address = memory.get();
    memory_.emplace(address, std::move(memory));
    return address;
  }
  void* allocate_host(std::size_t bytes) override { return allocate(bytes); }
  void free(void* memory) override { memory_.erase(memory); }
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
  double seconds(Event, Event) override { return 0; }

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
    push(stream, [this, captured = static_cast<NullGraph*>(graph)] { captured->run(order_); });
  }

  void push(Stream stream, std::function<void()> work) {
    queue_of(stream).push_back({Item::Kind::work, std::move(work), nullptr});
  }

 private:
  static std::size_t index_of(Stream stream) { return static_cast<NullStream*>(stream)->index; }
  bool captures(Stream stream) const {
    return capture_ && captured_streams_.contains(index_of(stream));
  }
  std::deque<Item>& queue_of(Stream stream) {
    Queues& queues = captures(stream) ? capture_->queues : queues_;
    if (queues.size() < queues_.size()) queues.resize(queues_.size());
    return queues[index_of(stream)];
  }

  Mixer mixer_;
  StreamOrder order_;
  std::map<void*, Memory> memory_;
  std::vector<std::unique_ptr<NullStream>> streams_;
  std::vector<std::unique_ptr<NullEvent>> events_;
  std::vector<std::unique_ptr<NullGraph>> graphs_;
  Queues queues_;
  std::unique_ptr<NullGraph> capture_;  // null: nothing is captured
  std::set<std::size_t> captured_streams_;
};

}  // namespace

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

Devices find_devices() { return {{}, kWithout}; }

Survey survey() { return {find_devices(), "", {}}; }

std::unique_ptr<Device> open_device(int) { throw InputError(kWithout); }

}  // namespace bessemer::kernels::cuda
