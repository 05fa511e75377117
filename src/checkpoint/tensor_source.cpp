#include "checkpoint/tensor_source.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/json_text.h"

namespace bessemer::checkpoint {
namespace {

constexpr std::size_t kMostShown = 4;

std::optional<std::string> difference(const TensorSource& source, const TensorSpec& spec) {
  const auto view = source.find(spec.name);
  if (!view) {
    return fmt::format("{}: not there, the model needs {}", spec.name, to_string(spec.type));
  }
  if (view->type.shape != spec.type.shape) {
    return fmt::format("{}: checkpoint has {}, the model needs {}", spec.name,
                       to_string(view->type.shape), to_string(spec.type.shape));
  }
  if (view->type.dtype != spec.type.dtype) {
    return fmt::format("{}: checkpoint has {}, the model needs {}", spec.name,
                       to_string(view->type), to_string(spec.type));
  }
  return std::nullopt;
}

std::vector<std::string> unexpected_names(const TensorSource& source,
                                          std::span<const TensorSpec> expected) {
  std::vector<std::string> known;
  for (const TensorSpec& spec : expected) known.push_back(spec.name);
  std::sort(known.begin(), known.end());
  const std::vector<std::string> names = source.names();
  std::vector<std::string> extra;
  std::set_difference(names.begin(), names.end(), known.begin(), known.end(),
                      std::back_inserter(extra));
  return extra;
}

}  // namespace

TensorView get(const TensorSource& source, std::string_view name) {
  auto view = source.find(name);
  require_input(view.has_value(), "{}: has no tensor {}", source.place(), quote(name));
  return *view;
}

void expect_tensors(const TensorSource& source, std::span<const TensorSpec> expected) {
  std::vector<std::string> differences;
  for (const TensorSpec& spec : expected) {
    if (auto text = difference(source, spec)) differences.push_back(std::move(*text));
  }
  for (const std::string& name : unexpected_names(source, expected)) {
    differences.push_back(fmt::format("{}: the model has no such tensor", quote(name)));
  }
  if (differences.empty()) return;
  const std::size_t shown = std::min(differences.size(), kMostShown);
  std::string text;
  for (std::size_t i = 0; i < shown; ++i) text += "\n  " + differences[i];
  if (shown < differences.size()) {
    text += fmt::format("\n  and {} more", differences.size() - shown);
  }
  fail_input("{}: this checkpoint belongs to another model:{}", source.place(), text);
}

}  // namespace bessemer::checkpoint
