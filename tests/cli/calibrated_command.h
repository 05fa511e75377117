// Commands that plan or train, on a machine whose rates are known.
#pragma once

#include <cstdlib>

#include "cli/command.h"
#include "cost/machine.h"
#include "train/machine.h"
#include "train/compile.h"

namespace bessemer::cli {

/// The cache lies in the test's directory, with a calibration in it, so that nothing is measured.
class CalibratedCommandTest : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    ::setenv("XDG_CACHE_HOME", (directory() / "cache").c_str(), 1);
    cost::save(cost::describe_here(), train::calibration_path());
  }
  void TearDown() override {
    ::unsetenv("XDG_CACHE_HOME");
    CommandTest::TearDown();
  }
};

}  // namespace bessemer::cli
