// A CUDA device, or the null device, that counts what is asked of it.
#pragma once

#include <memory>
#include <utility>

#include "kernels/cuda/device.h"

namespace bessemer::testing {

class CountingDevice : public kernels::cuda::Device {
 public:
  using Stream = kernels::cuda::Stream;
  using Event = kernels::cuda::Event;
  using Graph = kernels::cuda::Graph;

  explicit CountingDevice(std::shared_ptr<Device> device) : device_(std::move(device)) {}

  int drains = 0;  // of a stream
  int waits = 0;   // for an event
  int made = 0;    // memory, streams, events, graphs

  kernels::cuda::DeviceProperties properties() const override { return device_->properties(); }
  void* allocate(std::size_t bytes) override { return ++made, device_->allocate(bytes); }
  void* allocate_host(std::size_t bytes) override { return ++made, device_->allocate_host(bytes); }
  void free(void* memory) override { device_->free(memory); }
  void free_host(void* memory) override { device_->free_host(memory); }
  Stream new_stream() override { return ++made, device_->new_stream(); }
  Event new_event() override { return ++made, device_->new_event(); }
  void record(Event event, Stream stream) override { device_->record(event, stream); }
  void wait(Stream stream, Event event) override { device_->wait(stream, event); }
  void synchronize(Stream stream) override { ++drains, device_->synchronize(stream); }
  void wait_for(Event event) override { ++waits, device_->wait_for(event); }
  bool is_there(Event event) override { return device_->is_there(event); }
  double seconds(Event from, Event to) override { return device_->seconds(from, to); }
  void begin_capture(Stream stream) override { ++made, device_->begin_capture(stream); }
  Graph end_capture(Stream stream) override { return device_->end_capture(stream); }
  void launch(Graph graph, Stream stream) override { device_->launch(graph, stream); }

 private:
  std::shared_ptr<Device> device_;
};

}  // namespace bessemer::testing
