// The device of the CUDA runtime.
#include <cuda_runtime.h>

#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/cuda/driver/check.h"
#include "kernels/cuda/driver/survey.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr int kOldest = 80;  // what the kernels are compiled for

cudaStream_t stream_of(Stream stream) { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(Event event) { return static_cast<cudaEvent_t>(event); }

struct DestroyGraph {
  void operator()(cudaGraph_t graph) const { cudaGraphDestroy(graph); }
};
using CapturedGraph = std::unique_ptr<std::remove_pointer_t<cudaGraph_t>, DestroyGraph>;

/// It is the current device of the thread that opened it, and that thread uses it.
class CudaDevice final : public Device {
 public:
  explicit CudaDevice(int index) : index_(index) {
    check(cudaSetDevice(index), "opening a CUDA device");
  }

  // What the driver says now is of no use to anybody.
  ~CudaDevice() override {
    for (const cudaGraphExec_t graph : graphs_) cudaGraphExecDestroy(graph);
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
    for (const cudaStream_t stream : streams_) cudaStreamDestroy(stream);
  }

  DeviceProperties properties() const override {
    DeviceProperties properties = properties_of(index_);
    std::size_t all = 0;
    check(cudaMemGetInfo(&properties.free_bytes, &all), "free memory of a CUDA device");
    return properties;
  }

  void* allocate(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    const cudaError_t code = cudaMalloc(&memory, bytes);
    if (code == cudaErrorMemoryAllocation) refuse(bytes);
    check(code, "allocating device memory");
    check(cudaMemset(memory, 0, bytes), "zeroing device memory");
    // The streams of this device do not wait for the one that has just zeroed.
    check(cudaStreamSynchronize(cudaStreamLegacy), "zeroing device memory");
    return memory;
  }
  void* allocate_host(std::size_t bytes) override {
    if (bytes == 0) return nullptr;
    void* memory = nullptr;
    check(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "allocating page-locked memory");
    std::memset(memory, 0, bytes);
    return memory;
  }
  void free(void* memory) override { check(cudaFree(memory), "freeing device memory"); }
  void free_host(void* memory) override {
    check(cudaFreeHost(memory), "freeing page-locked host memory");
  }

  Stream new_stream() override {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "a new stream");
    streams_.push_back(stream);
    return stream;
  }
  Event new_event() override {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "a new event");
    events_.push_back(event);
    return event;
  }

  void record(Event event, Stream stream) override {
    check(cudaEventRecord(event_of(event), stream_of(stream)), "recording an event");
  }
  void wait(Stream stream, Event event) override {
    check(cudaStreamWaitEvent(stream_of(stream), event_of(event), cudaEventWaitDefault),
          "waiting for an event");
  }
  void synchronize(Stream stream) override {
    check(cudaStreamSynchronize(stream_of(stream)), "waiting for the device");
  }
  void wait_for(Event event) override {
    check(cudaEventSynchronize(event_of(event)), "waiting for the device");
  }
  bool is_there(Event event) override {
    const cudaError_t code = cudaEventQuery(event_of(event));
    if (code == cudaErrorNotReady) return false;
    check(code, "asking the device how far it is");
    return true;
  }
  double seconds(Event from, Event to) override {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, event_of(from), event_of(to)),
          "the time between events");
    return milliseconds * 1e-3;
  }

  void begin_capture(Stream stream) override {
    check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
          "beginning a capture");
  }
  Graph end_capture(Stream stream) override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_of(stream), &graph), "ending a capture");
    const CapturedGraph captured(graph);
    cudaGraphExec_t executable = nullptr;
    check(cudaGraphInstantiate(&executable, graph, 0), "making a graph of a capture");
    graphs_.push_back(executable);
    // Now, not with the first launch.
    check(cudaGraphUpload(executable, stream_of(stream)), "uploading a graph");
    return executable;
  }
  void launch(Graph graph, Stream stream) override {
    check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), stream_of(stream)),
          "launching a graph");
  }

 private:
  [[noreturn]] void refuse(std::size_t bytes) const {
    (void)cudaGetLastError();  // or whoever asks next would find it
    constexpr double kMebibyte = 1 << 20;
    const DeviceProperties device = properties();
    fail_input(
        "{:.1f} MiB of device memory cannot be had: {} has {:.1f} MiB free; `nvidia-smi` shows "
        "which process holds the rest",
        static_cast<double>(bytes) / kMebibyte, device.name,
        static_cast<double>(device.free_bytes) / kMebibyte);
  }

  int index_;
  std::vector<cudaStream_t> streams_;
  std::vector<cudaEvent_t> events_;
  std::vector<cudaGraphExec_t> graphs_;
};

}  // namespace

void copy(void* to, const void* from, std::size_t bytes, Stream stream) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_of(stream)), "a copy");
}

std::unique_ptr<Device> open_device(int index) {
  const DeviceCount there = count_devices();
  require_input(there.count > 0, "{}", there.problem);
  require_input(index >= 0 && index < there.count,
                "there is no CUDA device {}: this machine has {}, numbered from 0", index,
                there.count);
  const DeviceProperties device = properties_of(index);
  require_input(device.compute_capability >= kOldest,
                "CUDA device {} ({}) has compute capability {}.{}, expected 8.0 (Ampere) or newer",
                index, device.name, device.compute_capability / 10, device.compute_capability % 10);
  return std::make_unique<CudaDevice>(index);
}

}  // namespace bessemer::kernels::cuda
