#include "train/compile.h"

#include <unistd.h>

#include "base/error.h"
#include "models/model.h"
#include "passes/chunk.h"
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

passes::Recipe recipe_of(const config::PrecisionConfig& precision) {
  switch (precision.recipe) {
    case config::Recipe::fp32: return passes::Recipe::fp32;
    case config::Recipe::tf32: return passes::Recipe::tf32;
    case config::Recipe::bf16: return passes::Recipe::bf16;
    case config::Recipe::fp8: break;
  }
  switch (precision.fp8_scaling) {
    case config::Fp8Scaling::current: break;
    case config::Fp8Scaling::delayed: return passes::Recipe::fp8_delayed;
    case config::Fp8Scaling::block: return passes::Recipe::fp8_block;
  }
  return passes::Recipe::fp8_current;
}

passes::Precision precision_of(const config::PrecisionConfig& precision) {
  const bool masters = precision.parameters == config::Parameters::fp32;
  return {recipe_of(precision), masters ? DType::fp32 : DType::bf16};
}

DType compute_dtype(config::Recipe recipe) {
  const bool wide = recipe == config::Recipe::fp32 || recipe == config::Recipe::tf32;
  return wide ? DType::fp32 : DType::bf16;
}

GenerationGraphs generation_graphs(const models::Architecture& architecture,
                                   passes::Precision precision, std::int64_t cache_length,
                                   passes::Runner& runner) {
  GenerationGraphs graphs;
  const auto compile = [&](std::int64_t tokens, const char* name) {
    ir::Graph graph = models::decode_graph(architecture, {1, tokens}, cache_length);
    graph.set_name(name);
    passes::ForwardGraphs compiled = passes::compile_forward(graph, precision, runner);
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

config::MemoryConfig budgets_of(config::MemoryConfig memory,
                                const cost::MachineDescription& machine) {
  if (machine.device_memory == 0) return memory;
  if (!memory.device) memory.device = config::Bytes{machine.device_memory};
  if (!memory.host) memory.host = config::Bytes{memory_of_this_machine()};
  return memory;
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
  const config::MemoryConfig budgets = budgets_of(config.memory, machine);
  RunCompiler compiler(config, architecture, machine, runner);
  require(config.train.micro_batch_size.has_value(), "the size of micro-batches is not settled");
  const Way way{*config.train.micro_batch_size,
                config.memory.offload.value_or(std::vector<config::OffloadItem>()), kWhole,
                *config.memory.recompute, 0};
  const Way whole = compiler.fit(way, budgets);
  if (way.offload.empty() || !can_tile(machine) || fits(budgets, compiler.price(whole).bytes)) {
    return compiler.compile(whole);
  }
  Way in_pieces = way;
  in_pieces.piece = piece_bytes(budgets);
  in_pieces = compiler.fit(in_pieces, budgets);
  const bool less = compiler.price(in_pieces).device_bytes() < compiler.price(whole).device_bytes();
  return compiler.compile(less ? in_pieces : whole);
}

plan::Plan compile_generation(const models::Architecture& architecture, passes::Precision precision,
                              std::int64_t cache_length, const cost::MachineDescription& machine,
                              passes::Runner& runner) {
  const GenerationGraphs generation =
      generation_graphs(architecture, precision, cache_length, runner);
  std::vector<const ir::Graph*> graphs;
  add_refresh(generation.refresh, graphs);
  graphs.push_back(&generation.prefill);
  graphs.push_back(&generation.decode);
  return plan::make_plan(graphs, machine);
}

plan::Plan compile_evaluation(const models::Architecture& architecture, passes::Precision precision,
                              std::int64_t sequences, std::int64_t sequence_length,
                              const cost::MachineDescription& machine, passes::Runner& runner) {
  ir::Graph graph = passes::own_head_chunk(
      models::loss_graph(architecture, {sequences, sequence_length}), machine.cpu);
  graph.set_name("evaluate");
  const passes::ForwardGraphs compiled = passes::compile_forward(graph, precision, runner);
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

}  // namespace bessemer::train
