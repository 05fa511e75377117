// Filling a model's parameters, and taking them out again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "checkpoint/tensor_source.h"
#include "models/model.h"
#include "runtime/executor.h"

namespace bessemer::train {

/// Where parameters go: calls `fill` with the place for the fp32 values of that tensor, or leaves
/// it out.
using ParameterSink = std::function<void(const models::ParameterInfo& info,
                                         const std::function<void(float* values)>& fill)>;

/// The executor's own tensors, in whichever tier, rounded to nearest where they are bf16;
/// parameters the plan does not have are left out.
ParameterSink into(const runtime::Executor& executor);

/// Draws every parameter by its rule.
void draw_parameters(const models::Architecture& architecture, std::uint64_t seed,
                     const ParameterSink& sink);

/// Reads parameters by our names (a checkpoint) or by Hugging Face's names, which ever the source
/// has; converts to fp32 from fp32, bf16 or fp16. A tied head may be absent. InputError names the
/// tensor that is missing or of another shape.
void read_parameters(const models::Architecture& architecture,
                     const checkpoint::TensorSource& source, const ParameterSink& sink);

/// Reads what delayed scaling of fp8 goes by, as training left it, where the executor's plan and
/// the source have it.
void read_scales(const checkpoint::TensorSource& source, const runtime::Executor& executor);

/// Writes a Hugging Face directory (safetensors, config.json and, where `tokenizer` is not empty,
/// the tokenizer's file) from a source with our names.
void write_hugging_face_model(const models::Architecture& architecture,
                              const checkpoint::TensorSource& source,
                              const std::filesystem::path& tokenizer,
                              const std::filesystem::path& directory);

}  // namespace bessemer::train
