// The calibration cache: what is saved comes back, what is broken or of another machine does not.
#include "cost/machine.h"

#include <fstream>

#include <stdlib.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/temporary_directory.h"

namespace bessemer::cost {
namespace {

class Calibration : public ::testing::Test {
 protected:
  std::filesystem::path path() const { return directory_.path() / "machine.json"; }

  TemporaryDirectory directory_;
};

TEST_F(Calibration, ComesBack) {
  MachineDescription machine = describe_here();
  machine.matmul_flops_fp32 = 3e11;
  machine.host_bandwidth = 5e9;
  machine.directories["/scratch"] = {2e9, 1e9};
  save(machine, path());
  const auto loaded = load(path(), describe_here());
  ASSERT_TRUE(loaded.has_value());
  EXPECT_TRUE(loaded->measured);
  EXPECT_EQ(loaded->matmul_flops_fp32, 3e11);
  EXPECT_EQ(loaded->host_bandwidth, 5e9);
  ASSERT_EQ(loaded->directories.size(), 1u);
  EXPECT_EQ(loaded->directories.at("/scratch").read, 2e9);
  EXPECT_EQ(loaded->directories.at("/scratch").write, 1e9);
}

TEST_F(Calibration, OfAnotherMachineOrVersionIsNone) {
  MachineDescription machine = describe_here();
  machine.name = "another";
  save(machine, path());
  EXPECT_FALSE(load(path(), describe_here()).has_value());
  std::ofstream(path()) << R"({"name": ")" << describe_here().name
                        << R"(", "matmul_flops_fp32": 1, "matmul_flops_bf16": 1,)"
                        << R"( "copy_bandwidth": 1})";  // before there were tiers
  EXPECT_FALSE(load(path(), describe_here()).has_value());
}

TEST_F(Calibration, ThatIsBrokenIsNamed) {
  std::ofstream(path()) << R"({"name": ")" << describe_here().name
                        << R"(", "matmul_flops_fp32": 1, "matmul_flops_bf16": 1,)"
                        << R"( "layer_flops_fp32": 1, "layer_flops_bf16": 1,)"
                        << R"( "attention_flops_fp32": 1, "attention_flops_bf16": 1,)"
                        << R"( "copy_bandwidth": 1, "host_bandwidth": 1,)"
                        << R"( "directories": {"/a": {"read": 1, "write": -1}}})";
  try {
    load(path(), describe_here());
    FAIL();
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("directories: '/a': 'write' must be a positive"),
              std::string::npos)
        << error.what();
  }
}

TEST(Transfer, TakesItsLinksTime) {
  MachineDescription machine;
  machine.instruction_overhead = 0;
  machine.host_bandwidth = 4;
  machine.file_read_bandwidth = 2;
  machine.file_write_bandwidth = 1;
  EXPECT_EQ(transfer_seconds(8, ir::Tier::host, Direction::to_device, machine), 2);
  EXPECT_EQ(transfer_seconds(8, ir::Tier::host, Direction::from_device, machine), 2);
  EXPECT_EQ(transfer_seconds(8, ir::Tier::file, Direction::to_device, machine), 4);
  EXPECT_EQ(transfer_seconds(8, ir::Tier::file, Direction::from_device, machine), 8);
}

}  // namespace
}  // namespace bessemer::cost
