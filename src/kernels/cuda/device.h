// A CUDA device as the runtime sees it: memory, streams, events, graphs. Two of them are built,
// never both: the driver's (driver/) where the CUDA toolkit is there, else the null device (null/),
// which is this process's own memory and runs the same kernels on the processor, for tests.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace bessemer::kernels::cuda {

/// A queue of work: cudaStream_t, or what the null device has in its place.
using Stream = void*;
/// A point in a stream that others may wait for: cudaEvent_t.
using Event = void*;
/// Captured work: cudaGraphExec_t.
using Graph = void*;

struct DeviceProperties {
  std::string name;            // "NVIDIA H100 80GB HBM3"
  int compute_capability = 0;  // ten times: 90 is 9.0
  int multiprocessors = 0;
  std::size_t memory_bytes = 0;
  std::size_t free_bytes = 0;  // of an open device
};

/// Not thread-safe; the thread that opens it uses it. Error where the driver refuses, with what it
/// says. Streams and events live as long as the device.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  virtual DeviceProperties properties() const = 0;

  /// Zeroed bytes on the device, and page-locked ones on the host; null for none.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void* allocate_host(std::size_t bytes) = 0;
  virtual void free(void* memory) = 0;
  virtual void free_host(void* memory) = 0;

  virtual Stream new_stream() = 0;
  virtual Event new_event() = 0;

  /// The event is what is queued so far; the stream goes on when the event is there.
  virtual void record(Event event, Stream stream) = 0;
  virtual void wait(Stream stream, Event event) = 0;
  /// Returns when all that is queued is done.
  virtual void synchronize(Stream stream) = 0;
  /// Returns when a recorded event is there, whatever is queued after it.
  virtual void wait_for(Event event) = 0;
  /// Whether a recorded event is there. Does not wait.
  virtual bool is_there(Event event) = 0;
  /// Seconds between two recorded events that are there.
  virtual double seconds(Event from, Event to) = 0;

  /// What is queued on the stream, and on those that wait for its events, is captured instead of
  /// run, until the end; the graph then runs it as often as it is launched.
  virtual void begin_capture(Stream stream) = 0;
  virtual Graph end_capture(Stream stream) = 0;
  virtual void launch(Graph graph, Stream stream) = 0;
};

/// Queued: bytes between host and device, either way, or within one of them. What it copies from
/// and to must live until the stream is there.
void copy(void* to, const void* from, std::size_t bytes, Stream stream);

/// The devices of this machine and what keeps them from being used.
struct Devices {
  std::vector<DeviceProperties> devices;
  std::string problem;  // why there are no devices; empty where there are
  std::string driver;   // its version, "CUDA 13.0"; empty: none
};
Devices find_devices();

/// The same with what stands beside them. Opens each of the libraries: for who wants to see them.
struct Survey : Devices {
  /// Libraries that are opened on first use: "cuBLASLt 13.0.2", or what is missing and what to do.
  std::vector<std::string> libraries;
};
Survey survey();

/// Device number `index`; Error where there is none, saying why.
std::unique_ptr<Device> open_device(int index);

}  // namespace bessemer::kernels::cuda
