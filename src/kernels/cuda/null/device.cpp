// The null device's memory, streams, events and graphs.
#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <set>

#include "base/arena.h"
#include "base/error.h"
#include "kernels/cuda/null/stream.h"
#include "kernels/cuda/simt.cuh"

namespace bessemer::kernels::cuda::null {
namespace {

struct NullEvent {
  int recorded = 0;  // times
  int reached = 0;   // of those
};

/// One thing on a stream: work, or a record of an event, or a wait for one.
struct Item {
  enum class Kind { work, record, wait } kind = Kind::work;
  std::function<void()> work;
  NullEvent* event = nullptr;
  int count = 0;  // which of the event's records
};

using Queues = std::vector<std::deque<Item>>;

bool can_start(const std::deque<Item>& queue) {
  if (queue.empty()) return false;
  const Item& next = queue.front();
  return next.kind != Item::Kind::wait || next.event->reached >= next.count;
}

void step(std::deque<Item>& queue) {
  const Item item = std::move(queue.front());
  queue.pop_front();
  if (item.kind == Item::Kind::work) item.work();
  if (item.kind == Item::Kind::record) item.event->reached = item.count;
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
    const std::size_t turn = order_ == StreamOrder::in_turns ? ++turn_ : 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t from_front = (i + turn) % count;
      const std::size_t q =
          order_ == StreamOrder::last_stream_first ? count - 1 - from_front : from_front;
      if (can_start(queues[q])) return q;
    }
    return count;
  }

  StreamOrder order_;
  std::size_t turn_ = 0;
};

class NullDevice;

struct NullStream {
  NullDevice* device;
  std::size_t index;
};

/// Captured items by stream, the first stream the one that it was begun on. Its events are its own.
struct NullGraph {
  Queues queues;
  std::vector<std::unique_ptr<NullEvent>> events;
};

class NullDevice final : public Device {
 public:
  explicit NullDevice(StreamOrder order) : mixer_(order), order_(order) {}

  DeviceProperties properties() const override { return {"null device", 80, 1, 0, 0}; }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    Arena arena(bytes);
    void* memory = arena.data();
    memory_.emplace(memory, std::move(arena));
    return memory;
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
    auto* e = static_cast<NullEvent*>(event);
    if (captures(stream)) {
      NullEvent*& own = captured_events_[e];
      if (own == nullptr) {
        capture_->events.push_back(std::make_unique<NullEvent>());
        own = capture_->events.back().get();
      }
      queue_of(stream).push_back({Item::Kind::record, {}, own, ++own->recorded});
      return;
    }
    queue_of(stream).push_back({Item::Kind::record, {}, e, ++e->recorded});
  }
  void wait(Stream stream, Event event) override {
    auto* e = static_cast<NullEvent*>(event);
    if (const auto own = captured_events_.find(e); own != captured_events_.end()) {
      captured_streams_.insert(static_cast<NullStream*>(stream)->index);
      queue_of(stream).push_back({Item::Kind::wait, {}, own->second, own->second->recorded});
      return;
    }
    require(!captures(stream), "a captured stream waits for what was recorded outside");
    queue_of(stream).push_back({Item::Kind::wait, {}, e, e->recorded});
  }
  void synchronize(Stream stream) override {
    require(!captures(stream), "a stream is waited for while it is captured");
    mixer_.run_until_empty(queues_, static_cast<NullStream*>(stream)->index);
  }
  double seconds(Event, Event) override { return 0; }

  void begin_capture(Stream stream) override {
    require(!capture_, "a capture within a capture");
    capture_ = std::make_unique<NullGraph>();
    capture_->queues.resize(queues_.size());
    captured_streams_ = {static_cast<NullStream*>(stream)->index};
  }
  Graph end_capture(Stream stream) override {
    const std::size_t origin = static_cast<NullStream*>(stream)->index;
    require_joined(origin);
    std::swap(capture_->queues[0], capture_->queues[origin]);
    graphs_.push_back(std::move(capture_));
    captured_streams_.clear();
    captured_events_.clear();
    return graphs_.back().get();
  }
  void launch(Graph graph, Stream stream) override {
    auto* g = static_cast<NullGraph*>(graph);
    push(stream, [g, mixer = Mixer(order_)]() mutable {
      for (const auto& event : g->events) event->reached = 0;
      Queues queues = g->queues;
      mixer.run_until_empty(queues, 0);
    });
  }

  void push(Stream stream, std::function<void()> work) {
    queue_of(stream).push_back({Item::Kind::work, std::move(work), nullptr, 0});
  }

 private:
  bool captures(Stream stream) const {
    return capture_ && captured_streams_.contains(static_cast<NullStream*>(stream)->index);
  }
  std::deque<Item>& queue_of(Stream stream) {
    const std::size_t index = static_cast<NullStream*>(stream)->index;
    return captures(stream) ? capture_->queues[index] : queues_[index];
  }

  // What a captured stream does last, the one that the capture began on must wait for.
  void require_joined(std::size_t origin) const {
    for (const std::size_t s : captured_streams_) {
      const std::deque<Item>& queue = capture_->queues[s];
      if (s == origin || queue.empty()) continue;
      const Item& last = queue.back();
      const auto joins = [&](const Item& item) {
        return item.kind == Item::Kind::wait && item.event == last.event &&
               item.count == last.count;
      };
      require(last.kind == Item::Kind::record && std::any_of(capture_->queues[origin].begin(),
                                                             capture_->queues[origin].end(), joins),
              "stream {} is not joined at the end of the capture", s);
    }
  }

  Mixer mixer_;
  StreamOrder order_;
  std::map<void*, Arena> memory_;
  std::vector<std::unique_ptr<NullStream>> streams_;
  std::vector<std::unique_ptr<NullEvent>> events_;
  std::vector<std::unique_ptr<NullGraph>> graphs_;
  Queues queues_;
  std::unique_ptr<NullGraph> capture_;  // null: nothing is captured
  std::set<std::size_t> captured_streams_;
  std::map<NullEvent*, NullEvent*> captured_events_;
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
  null::queue(stream, [=] { std::memcpy(to, from, bytes); });
}

Survey survey() { return {{}, "", kWithout, {}}; }

std::unique_ptr<Device> open_device(int) { throw InputError(kWithout); }

}  // namespace bessemer::kernels::cuda
