// What the tests against PyTorch's numbers share: the golden files and a model under test.
#pragma once

#include <cstring>
#include <filesystem>
#include <numeric>
#include <string>
#include <vector>

#include "checkpoint/hugging_face.h"
#include "checkpoint/safetensors.h"
#include "models/model.h"
#include "plan/plan.h"
#include "runtime/executor.h"
#include "train/weights.h"

namespace bessemer::testing {

inline std::filesystem::path golden_models() {
  return std::filesystem::path(BESSEMER_SOURCE_DIR) / "tests/models/golden";
}

template <typename T>
std::vector<T> values_of(const checkpoint::TensorSource& source, std::string_view name) {
  const checkpoint::TensorView view = checkpoint::get(source, name);
  std::vector<T> values(static_cast<std::size_t>(view.type.elements()));
  std::memcpy(values.data(), view.bytes.data(), view.bytes.size());
  return values;
}

/// Positions 0..T-1 and visibility [0, T) for each of `sequences`: one document a sequence.
inline void set_whole_sequences(const runtime::Executor& executor, std::string_view program,
                                std::int64_t sequences, std::int64_t length) {
  for (const plan::Port& port : executor.plan().program(program).data) {
    auto* values = executor.data(program, port.name).as<std::int32_t>();
    if (port.name == "positions") {
      for (std::int64_t i = 0; i < sequences * length; ++i) {
        values[i] = static_cast<std::int32_t>(i % length);
      }
    } else if (port.name == "visibility") {
      for (std::int64_t i = 0; i < sequences * length; ++i) {
        values[2 * i] = 0;
        values[2 * i + 1] = static_cast<std::int32_t>(length);
      }
    }
  }
}

inline void load_weights(const models::Architecture& architecture,
                         const std::filesystem::path& directory,
                         const runtime::Executor& executor) {
  const auto source = checkpoint::open_hugging_face(directory);
  train::read_parameters(architecture, *source, train::into(executor));
}

}  // namespace bessemer::testing
