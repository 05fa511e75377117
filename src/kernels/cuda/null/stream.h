// Streams, events and graphs of the null device. What is queued on a stream runs when somebody
// waits for it, and then no sooner than it must: who forgets to wait reads what is not there yet.
// Its time is made up: each piece of work takes a microsecond.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels/cuda/device.h"

namespace bessemer::kernels::cuda::null {

/// How work of several streams is mixed, as far as their events leave it open.
enum class StreamOrder { first_stream_first, last_stream_first, in_turns };

std::unique_ptr<Device> make_null_device(StreamOrder order = StreamOrder::last_stream_first);

/// While one lives, this machine has a CUDA device for whoever looks for one: a null device. For
/// tests of what opens its device itself.
class OfferNullDevice {
 public:
  OfferNullDevice();
  OfferNullDevice(const OfferNullDevice&) = delete;
  OfferNullDevice& operator=(const OfferNullDevice&) = delete;
  ~OfferNullDevice();
};

}  // namespace bessemer::kernels::cuda::null
