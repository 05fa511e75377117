#include "train/compile.h"

#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "config/environment.h"
#include "kernels/cpu/calibrate.h"
#include "models/model.h"
#include "passes/hoist_weights.h"
#include "passes/pipeline.h"
#include "passes/update_mode.h"
#include "train/offload.h"
#include "train/run_compiler.h"

namespace bessemer::train {
namespace {

// A refresh without nodes would be a program that does nothing.
void add_refresh(const ir::Graph& refresh, std::vector<const ir::Graph*>& graphs) {
  if (!refresh.nodes().empty()) graphs.push_back(&refresh);
}

}  // namespace

passes::Recipe recipe_of(config::Recipe recipe) {
  return recipe == config::Recipe::bf16 ? passes::Recipe::bf16 : passes::Recipe::fp32;
}

DType compute_dtype(config::Recipe recipe) {
  return recipe == config::Recipe::bf16 ? DType::bf16 : DType::fp32;
}

GenerationGraphs generation_graphs(const models::Architecture& architecture, passes::Recipe recipe,
                                   std::int64_t cache_length, passes::Runner& runner) {
  GenerationGraphs graphs;
  const auto compile = [&](std::int64_t tokens, const char* name) {
    ir::Graph graph = models::decode_graph(architecture, {1, tokens}, cache_length);
    graph.set_name(name);
    passes::ForwardGraphs compiled = passes::compile_forward(graph, recipe, runner);
    graphs.refresh = passes::merge_refresh(std::move(graphs.refresh), compiled.refresh);
    return std::move(compiled.forward);
  };
  graphs.prefill = compile(kPrefillTokens, "prefill");
  graphs.decode = compile(1, "decode");
  return graphs;
}

std::size_t memory_of_this_machine() {
  return static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::size_t>(::sysconf(_SC_PAGE_SIZE));
}

std::size_t device_budget(const config::MemoryConfig& memory) {
  return memory.device ? memory.device->count : memory_of_this_machine();
}

bool fits(const config::MemoryConfig& memory, const std::array<std::size_t, ir::kTiers>& bytes) {
  const auto [device, host, file] = bytes;
  const bool host_fits = memory.host ? host <= memory.host->count
                                     : host == 0 || device + host <= memory_of_this_machine();
  return device <= device_budget(memory) && host_fits &&
         (!memory.file || file <= memory.file->bytes.count);
}

CompiledRun compile_run(const config::RunConfig& config, const models::Architecture& architecture,
                        const cost::MachineDescription& machine, passes::Runner& runner) {
  RunCompiler compiler(config, architecture, machine, runner);
  require(config.train.micro_batch_size.has_value(), "the size of micro-batches is not settled");
  const Way way{*config.train.micro_batch_size,
                config.memory.offload.value_or(std::vector<config::OffloadItem>()), kWhole,
                *config.memory.recompute, 0};
  const Way whole = compiler.fit(way, config.memory);
  if (way.offload.empty() || fits(config.memory, compiler.price(whole).bytes)) {
    return compiler.compile(whole);
  }
  Way in_pieces = way;
  in_pieces.piece = piece_bytes(config.memory);
  in_pieces = compiler.fit(in_pieces, config.memory);
  const bool less = compiler.price(in_pieces).device_bytes() < compiler.price(whole).device_bytes();
  return compiler.compile(less ? in_pieces : whole);
}

plan::Plan compile_generation(const models::Architecture& architecture, config::Recipe recipe,
                              std::int64_t cache_length, const cost::MachineDescription& machine,
                              passes::Runner& runner) {
  const GenerationGraphs generation =
      generation_graphs(architecture, recipe_of(recipe), cache_length, runner);
  std::vector<const ir::Graph*> graphs;
  add_refresh(generation.refresh, graphs);
  graphs.push_back(&generation.prefill);
  graphs.push_back(&generation.decode);
  return plan::make_plan(graphs, machine);
}

plan::Plan compile_evaluation(const models::Architecture& architecture, config::Recipe recipe,
                              std::int64_t sequences, std::int64_t sequence_length,
                              const cost::MachineDescription& machine, passes::Runner& runner) {
  ir::Graph graph = models::loss_graph(architecture, {sequences, sequence_length});
  graph.set_name("evaluate");
  const passes::ForwardGraphs compiled = passes::compile_forward(graph, recipe_of(recipe), runner);
  std::vector<const ir::Graph*> graphs;
  add_refresh(compiled.refresh, graphs);
  graphs.push_back(&compiled.forward);
  return plan::make_plan(graphs, machine);
}

std::vector<checkpoint::TensorSpec> specs_to_save(const plan::Plan& plan) {
  std::vector<checkpoint::TensorSpec> specs;
  for (const plan::CatalogEntry& entry : plan.catalog) {
    const bool state = entry.role == ir::Role::parameter || entry.role == ir::Role::optimizer;
    if ((state && !passes::is_next(entry.name)) || passes::is_pending(entry.name)) {
      specs.push_back({entry.name, entry.type});
    }
  }
  return specs;
}

bool saves_from_copy(const plan::Plan& plan) {
  for (const checkpoint::TensorSpec& spec : specs_to_save(plan)) {
    if (plan.find_tensor(spec.name)->tier != ir::Tier::device) return false;
  }
  return true;
}

std::filesystem::path calibration_path() {
  return config::cache_directory() / fmt::format("machine-{}.json", thread_count());
}

cost::MachineDescription calibrate() {
  cost::MachineDescription machine = cost::describe_here();
  machine.matmul_flops_fp32 = kernels::cpu::measure_matmul_peak(DType::fp32);
  machine.matmul_flops_bf16 = kernels::cpu::measure_matmul_peak(DType::bf16);
  machine.layer_flops_fp32 = kernels::cpu::measure_layer_rate(DType::fp32);
  machine.layer_flops_bf16 = kernels::cpu::measure_layer_rate(DType::bf16);
  machine.attention_flops_fp32 = kernels::cpu::measure_attention_rate(DType::fp32);
  machine.attention_flops_bf16 = kernels::cpu::measure_attention_rate(DType::bf16);
  machine.copy_bandwidth = kernels::cpu::measure_copy_bandwidth();
  machine.host_bandwidth = kernels::cpu::measure_link_bandwidth();
  machine.measured = true;
  keep_calibration(machine);
  return machine;
}

void keep_calibration(const cost::MachineDescription& machine) {
  try {
    cost::save(machine, calibration_path());
  } catch (const std::exception& error) {  // a read-only home costs a measurement at the next start
    log::warn("the calibration is not kept: {}", error.what());
  }
}

cost::MachineDescription known_machine() {
  const cost::MachineDescription here = cost::describe_here();
  return cost::load(calibration_path(), here).value_or(here);
}

cost::MachineDescription measured_machine() {
  if (const cost::MachineDescription known = known_machine(); known.measured) return known;
  log::info("measuring this machine's rates once (kept in {})", calibration_path().string());
  return calibrate();
}

}  // namespace bessemer::train
