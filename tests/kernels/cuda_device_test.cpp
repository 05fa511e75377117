// What the runtime asks of a CUDA device: memory, streams that wait for each other's events, and
// graphs that do again what was captured.
#include <gtest/gtest.h>

#include <vector>

#include "base/error.h"
#include "support/cuda_test.h"

namespace bessemer::kernels::cuda {
namespace {

class CudaDeviceTest : public bessemer::testing::CudaTest {
 protected:
  void SetUp() override {
    CudaTest::SetUp();
    device_ = bessemer::testing::cuda_device();
    if (device_ == nullptr) return;
    stream_ = device_->new_stream();
    for (std::byte*& memory : device_memory_) {
      memory = static_cast<std::byte*>(device_->allocate(kBytes));
    }
    host_ = static_cast<std::byte*>(device_->allocate_host(kBytes));
  }
  void TearDown() override {
    if (device_ == nullptr) return;
    for (std::byte* memory : device_memory_) device_->free(memory);
    device_->free_host(host_);
  }

  std::byte read(const std::byte* memory) {
    std::byte value{0xee};
    copy(&value, memory + kBytes - 1, 1, stream_);
    device_->synchronize(stream_);
    return value;
  }
  void fill_host(int value) { std::memset(host_, value, kBytes); }

  static constexpr std::size_t kBytes = std::size_t{1} << 20;
  Device* device_ = nullptr;
  Stream stream_ = nullptr;
  std::byte* device_memory_[2] = {};
  std::byte* host_ = nullptr;
};

TEST_F(CudaDeviceTest, MemoryStartsAsZero) {
  EXPECT_EQ(read(device_memory_[0]), std::byte{0});
  EXPECT_EQ(host_[0], std::byte{0});
  EXPECT_EQ(host_[kBytes - 1], std::byte{0});
  EXPECT_EQ(device_->allocate(0), nullptr);
  EXPECT_EQ(device_->allocate_host(0), nullptr);
  device_->free(nullptr);
  device_->free_host(nullptr);
}

TEST_F(CudaDeviceTest, ItSaysWhatItIs) {
  const DeviceProperties device = device_->properties();
  EXPECT_FALSE(device.name.empty());
  EXPECT_GE(device.compute_capability, 80);
  EXPECT_GE(device.multiprocessors, 1);
  EXPECT_LE(device.free_bytes, device.memory_bytes);
}

TEST_F(CudaDeviceTest, AStreamGoesOnWhenTheEventIsThere) {
  const Stream later = device_->new_stream();
  const Event copied = device_->new_event();
  fill_host(7);
  copy(device_memory_[0], host_, kBytes, stream_);
  device_->record(copied, stream_);
  device_->wait(later, copied);
  copy(device_memory_[1], device_memory_[0], kBytes, later);
  device_->synchronize(later);
  EXPECT_EQ(read(device_memory_[1]), std::byte{7});
}

TEST_F(CudaDeviceTest, TimeBetweenEventsIsNotNegative) {
  const Event from = device_->new_event(), to = device_->new_event();
  device_->record(from, stream_);
  copy(device_memory_[0], host_, kBytes, stream_);
  device_->record(to, stream_);
  device_->synchronize(stream_);
  EXPECT_GE(device_->seconds(from, to), 0);
}

// Captured over two streams: nothing runs until the launch, and each launch reads what is there
// then.
TEST_F(CudaDeviceTest, AGraphDoesAgainWhatWasCaptured) {
  const Stream beside = device_->new_stream();
  const Event forked = device_->new_event(), joined = device_->new_event();
  fill_host(1);
  device_->begin_capture(stream_);
  copy(device_memory_[0], host_, kBytes, stream_);
  device_->record(forked, stream_);
  device_->wait(beside, forked);
  copy(device_memory_[1], device_memory_[0], kBytes, beside);
  device_->record(joined, beside);
  device_->wait(stream_, joined);
  const Graph graph = device_->end_capture(stream_);
  EXPECT_EQ(read(device_memory_[1]), std::byte{0}) << "captured work ran before its launch";
  for (const int value : {2, 3}) {
    fill_host(value);
    device_->launch(graph, stream_);
    device_->synchronize(stream_);
    EXPECT_EQ(read(device_memory_[1]), static_cast<std::byte>(value));
  }
}

TEST(CudaSurvey, EitherDevicesOrTheReasonWhyNot) {
  const Survey here = survey();
  EXPECT_EQ(here.devices.empty(), !here.problem.empty()) << here.problem;
}

TEST(CudaSurvey, ADeviceThatIsNotThereIsTheUsersMistake) {
  EXPECT_THROW(open_device(1 << 20), InputError);
  EXPECT_THROW(open_device(-1), InputError);
}

}  // namespace
}  // namespace bessemer::kernels::cuda
