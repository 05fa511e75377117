#include "train/weights.h"

#include <cstring>
#include <map>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/parallel.h"
#include "checkpoint/hugging_face.h"
#include "data/tokenizer_file.h"
#include "passes/set_fp8.h"

namespace bessemer::train {
namespace {

using models::ParameterInfo;

// Element i of a tensor of any floating dtype; its bytes may be misaligned in a mapped file.
float load_float(const checkpoint::TensorView& view, std::int64_t i) {
  const std::byte* at = view.bytes.data() + static_cast<std::size_t>(i) * size_of(view.type.dtype);
  switch (view.type.dtype) {
    case DType::fp32: {
      float value;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    case DType::bf16: {
      BFloat16 value;
      std::memcpy(&value.bits, at, sizeof value.bits);
      return static_cast<float>(value);
    }
    case DType::fp16: {
      Float16 value;
      std::memcpy(&value.bits, at, sizeof value.bits);
      return static_cast<float>(value);
    }
    default: fail("{} is no weight dtype", name_of(view.type.dtype));
  }
}

void check_dtype(const checkpoint::TensorSource& source, const std::string& name,
                 const checkpoint::TensorView& view) {
  const DType d = view.type.dtype;
  require_input(d == DType::fp32 || d == DType::bf16 || d == DType::fp16,
                "{}: tensor {} is {}, expected fp32, bf16 or fp16", source.place(), name,
                to_string(view.type));
}

void copy_whole(const checkpoint::TensorView& view, float* values) {
  parallel_for(view.type.elements(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) values[i] = load_float(view, i);
  });
}

// Our tensor is rows [slice_begin, slice_begin + slice_rows) of theirs, theirs maybe transposed.
void copy_slice(const ParameterInfo& info, const checkpoint::TensorView& view, float* values) {
  const std::int64_t columns = info.shape.size() == 2 ? info.shape[1] : 1;
  const std::int64_t their_rows = info.transposed ? view.type.dim(1) : view.type.dim(0);
  parallel_for(info.slice_rows, 16, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t there = info.slice_begin + row;
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t i = info.transposed ? c * their_rows + there : there * columns + c;
        values[row * columns + c] = load_float(view, i);
      }
    }
  });
}

// Hugging Face's base models leave out the first part of the name ("transformer.", "model.").
std::optional<checkpoint::TensorView> find_theirs(const checkpoint::TensorSource& source,
                                                  const std::string& name) {
  if (auto view = source.find(name)) return view;
  const auto dot = name.find('.');
  const std::string_view first = std::string_view(name).substr(0, dot);
  if (first != "transformer" && first != "model") return std::nullopt;
  return source.find(std::string_view(name).substr(dot + 1));
}

void read_theirs(const checkpoint::TensorSource& source, const ParameterInfo& info, float* values) {
  const auto view = find_theirs(source, info.hugging_face);
  require_input(view.has_value(), "{}: tensor {} is missing (for {})", source.place(),
                info.hugging_face, info.name);
  check_dtype(source, info.hugging_face, *view);
  Shape shape = view->type.shape;
  if (info.transposed && shape.size() == 2) std::swap(shape[0], shape[1]);
  const bool fits = shape.size() == info.shape.size() && !shape.empty() &&
                    shape[0] >= info.slice_begin + info.slice_rows &&
                    (shape.size() < 2 || shape[1] == info.shape[1]);
  require_input(fits, "{}: tensor {} is {}, which does not hold {} {}", source.place(),
                info.hugging_face, to_string(view->type), info.name, to_string(info.shape));
  copy_slice(info, *view, values);
}

void read_parameter(const checkpoint::TensorSource& source, const ParameterInfo& info,
                    float* values) {
  const auto ours = source.find(info.name);
  if (!ours) return read_theirs(source, info, values);
  check_dtype(source, info.name, *ours);
  require_input(ours->type.shape == info.shape,
                "{}: tensor {} has shape {}, the model needs {}; it belongs to another model",
                source.place(), info.name, to_string(ours->type.shape), to_string(info.shape));
  copy_whole(*ours, values);
}

// One tensor of theirs and the ones of ours that make it.
struct Group {
  std::string name;
  TensorType type;
  std::vector<const ParameterInfo*> parts;
};

std::vector<Group> groups_of(const std::vector<ParameterInfo>& all) {
  std::vector<Group> groups;
  std::map<std::string, std::size_t> index;
  for (const ParameterInfo& info : all) {
    const auto [at, fresh] = index.try_emplace(info.hugging_face, groups.size());
    if (fresh) groups.push_back({info.hugging_face, {DType::fp32, info.shape}, {}});
    Group& group = groups[at->second];
    group.parts.push_back(&info);
    group.type.shape = info.shape;
    group.type.shape[0] = info.slice_begin + info.slice_rows;
  }
  for (Group& group : groups) {
    if (group.parts.front()->transposed) std::swap(group.type.shape[0], group.type.shape[1]);
  }
  return groups;
}

void fill_group(const Group& group, const checkpoint::TensorSource& source, float* out) {
  for (const ParameterInfo* info : group.parts) {
    const checkpoint::TensorView view = checkpoint::get(source, info->name);
    check_dtype(source, info->name, view);
    const std::int64_t columns = info->shape.size() == 2 ? info->shape[1] : 1;
    const std::int64_t their_rows = group.type.dim(-1);
    for (std::int64_t row = 0; row < info->slice_rows; ++row) {
      for (std::int64_t c = 0; c < columns; ++c) {
        const std::int64_t there = info->slice_begin + row;
        const std::int64_t i = info->transposed ? c * their_rows + there : there * columns + c;
        out[i] = load_float(view, row * columns + c);
      }
    }
  }
}

}  // namespace

ParameterSink into(const runtime::Executor& executor) {
  return [&executor](const ParameterInfo& info, const std::function<void(float*)>& fill) {
    const plan::CatalogEntry* entry = executor.plan().find_tensor(info.name);
    if (entry == nullptr) return;
    const bool rounds = entry->type.dtype == DType::bf16;
    if (!rounds && executor.is_addressable(info.name)) {
      return fill(executor.tensor(info.name).as<float>());
    }
    std::vector<float> values(static_cast<std::size_t>(entry->type.elements()));
    fill(values.data());
    if (!rounds) return executor.write(info.name, std::as_bytes(std::span(values)));
    const std::vector<BFloat16> rounded(values.begin(), values.end());
    executor.write(info.name, std::as_bytes(std::span(rounded)));
  };
}

void draw_parameters(const models::Architecture& architecture, std::uint64_t seed,
                     const ParameterSink& sink) {
  for (const ParameterInfo& info : models::parameters(architecture)) {
    sink(info, [&](float* values) { models::initialize(architecture, info, seed, values); });
  }
}

void read_parameters(const models::Architecture& architecture,
                     const checkpoint::TensorSource& source, const ParameterSink& sink) {
  for (const ParameterInfo& info : models::parameters(architecture)) {
    sink(info, [&](float* values) { read_parameter(source, info, values); });
  }
}

void read_scales(const checkpoint::TensorSource& source, const runtime::Executor& executor) {
  const plan::CatalogEntry* entry = executor.plan().find_tensor(passes::kFp8Amax);
  const auto known = source.find(passes::kFp8Amax);
  if (entry == nullptr || !known || known->type != entry->type) return;
  executor.write(entry->name, known->bytes);
}

void write_hugging_face_model(const models::Architecture& architecture,
                              const checkpoint::TensorSource& source,
                              const std::filesystem::path& tokenizer,
                              const std::filesystem::path& directory) {
  const std::vector<ParameterInfo> all = models::parameters(architecture);
  const std::vector<Group> groups = groups_of(all);
  std::vector<checkpoint::TensorSpec> specs;
  for (const Group& group : groups) specs.push_back({group.name, group.type});
  checkpoint::HuggingFaceOptions options;
  options.files.emplace_back("config.json", models::hugging_face_config(architecture));
  if (!tokenizer.empty()) {
    options.files.emplace_back(data::kept_tokenizer_name(tokenizer), read_file(tokenizer));
  }
  std::vector<float> buffer;
  const auto bytes_of = [&](std::size_t i) {
    buffer.resize(static_cast<std::size_t>(groups[i].type.elements()));
    fill_group(groups[i], source, buffer.data());
    return std::as_bytes(std::span(buffer));
  };
  checkpoint::write_hugging_face(directory, specs, bytes_of, options);
}

}  // namespace bessemer::train
