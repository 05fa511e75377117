#include <algorithm>
#include <map>
#include <optional>

#include <fmt/format.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "plan/assign.h"
#include "plan/plan.h"
#include "plan/storage.h"

namespace bessemer::plan {
namespace {

using ir::kAbsent;
using ir::ValueId;

struct Chosen {
  std::string name;
  std::shared_ptr<const kernels::Kernel> kernel;
};

Chosen choose_kernel(const ops::OpDefinition& op, const ops::OpUse& use,
                     const std::vector<TensorType>& results, const kernels::Machine& machine,
                     const std::string& label) {
  for (const kernels::KernelCandidate& candidate : op.candidates) {
    kernels::Prepared prepared =
        candidate.prepare({use.operands, results, use.attributes, machine});
    if (auto* kernel = std::get_if<std::unique_ptr<const kernels::Kernel>>(&prepared)) {
      return {std::string(candidate.name), std::move(*kernel)};
    }
    log::debug("{} ({}): kernel {} declined: {}", op.name, label, candidate.name,
               std::get<kernels::Declined>(prepared).reason);
  }
  fail("{} ({}): every kernel declined", op.name, label);
}

// The dtype in which the work is done, for the machine's rate.
DType compute_dtype(const ops::OpUse& use) {
  for (const auto& operand : use.operands) {
    if (operand && operand->dtype == DType::bf16) return DType::bf16;
  }
  return DType::fp32;
}

// Plans one graph once the places of persistent tensors and data are known.
class ProgramLowering {
 public:
  ProgramLowering(const ir::Graph& graph, const cost::MachineDescription& machine,
                  const std::map<std::string, std::size_t>& fixed, std::size_t transient_base)
      : graph_(graph),
        machine_(machine),
        fixed_(fixed),
        base_(transient_base),
        storage_(assign_storage(graph)) {}

  Program run() {
    program_.name = graph_.name();
    for (const ir::Node& node : graph_.nodes()) {
      if (!ops::definition_of(node.op).is_view) prepare(node);
    }
    for (const FinalCopy& copy : storage_.copies) prepare_copy(copy);
    assign();
    for (std::size_t i = 0; i < program_.instructions.size(); ++i) bind(i);
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
      const ir::Output& output = graph_.outputs()[i];
      if (output.kind != ir::Output::Kind::result) continue;
      program_.results.push_back(
          {output.name, graph_.type(output.value), offset_of_buffer(storage_.buffer_of_output[i])});
    }
    return std::move(program_);
  }

 private:
  struct Bound {
    std::vector<int> operands;  // buffers; -1: absent
    std::vector<int> results;
    int node = 0;  // its position in the graph, the clock of buffers' lives
  };

  int buffer_of(ValueId v) const { return storage_.buffer_of[static_cast<std::size_t>(v)]; }

  void prepare(const ir::Node& node) {
    const ops::OpDefinition& op = ops::definition_of(node.op);
    const ops::OpUse use = ops::use_of(graph_, node);
    std::vector<TensorType> results;
    for (const ValueId r : node.results) results.push_back(graph_.type(r));
    Chosen chosen = choose_kernel(op, use, results, machine_.cpu, node.label);
    Instruction instruction;
    instruction.op = node.op;
    instruction.label = node.label;
    instruction.kernel = chosen.name;
    instruction.scratch_bytes = chosen.kernel->scratch_bytes();
    instruction.run = std::move(chosen.kernel);
    instruction.work = op.work(use, results);
    instruction.seconds = cost::predicted_seconds(instruction.work, compute_dtype(use), machine_);
    Bound bound;
    bound.node = static_cast<int>(&node - graph_.nodes().data());
    instruction.moment = bound.node;
    for (const ValueId o : node.operands)
      bound.operands.push_back(o == kAbsent ? -1 : buffer_of(o));
    for (const ValueId r : node.results) bound.results.push_back(buffer_of(r));
    program_.instructions.push_back(std::move(instruction));
    bound_.push_back(std::move(bound));
  }

  void prepare_copy(const FinalCopy& copy) {
    const Attributes attributes{{"shape", copy.type.shape}};
    const ops::OpUse use{{copy.type}, attributes};
    Chosen chosen =
        choose_kernel(ops::definition_of("reshape"), use, {copy.type}, machine_.cpu, copy.name);
    Instruction instruction;
    instruction.op = "copy";
    instruction.label = copy.name;
    instruction.kernel = chosen.name;
    instruction.run = std::move(chosen.kernel);
    instruction.work = ops::memory_work(use, std::vector{copy.type});
    instruction.seconds = cost::predicted_seconds(instruction.work, DType::fp32, machine_);
    instruction.moment = static_cast<int>(graph_.nodes().size());
    program_.instructions.push_back(std::move(instruction));
    bound_.push_back({{copy.from}, {copy.to}, program_.instructions.back().moment});
  }

  // Blocks of all transient buffers and of each instruction's scratch, on the graph's clock.
  void assign() {
    const int boundary = forward_end();
    std::vector<Block> blocks;
    block_of_.assign(storage_.buffers.size(), -1);
    for (std::size_t b = 0; b < storage_.buffers.size(); ++b) {
      const Buffer& buffer = storage_.buffers[b];
      if (buffer.home != Home::transient) continue;
      block_of_[b] = static_cast<int>(blocks.size());
      blocks.push_back({buffer.bytes, buffer.first, buffer.last, 0});
      using Kind = TransientBuffer::Kind;
      const bool stash = buffer.first <= boundary && buffer.last > boundary;
      const Kind kind = buffer.is_result ? Kind::result : stash ? Kind::stash : Kind::transient;
      program_.transients.push_back(
          {buffer.name, kind, buffer.bytes, 0, buffer.first, buffer.last});
    }
    scratch_block_.assign(bound_.size(), -1);
    for (std::size_t i = 0; i < bound_.size(); ++i) {
      const Instruction& instruction = program_.instructions[i];
      if (instruction.scratch_bytes == 0) continue;
      scratch_block_[i] = static_cast<int>(blocks.size());
      blocks.push_back({instruction.scratch_bytes, bound_[i].node, bound_[i].node, 0});
      program_.transients.push_back({"scratch of " + instruction.op + " " + instruction.label,
                                     TransientBuffer::Kind::scratch, instruction.scratch_bytes, 0,
                                     bound_[i].node, bound_[i].node});
    }
    program_.transient_bytes = assign_offsets(blocks);
    const LivePeak peak = live_peak(blocks, static_cast<int>(graph_.nodes().size()));
    program_.live_peak_bytes = peak.bytes;
    program_.live_peak_at = peak.at;
    for (std::size_t k = 0; k < blocks.size(); ++k) {
      program_.transients[k].offset = base_ + blocks[k].offset;
    }
  }

  // The node that makes the loss: values that live across it are the stash.
  int forward_end() const {
    const ir::Output* loss = graph_.find_output("loss");
    const int nodes = static_cast<int>(graph_.nodes().size());
    if (loss == nullptr) return nodes;
    const int made = ir::producers(graph_)[static_cast<std::size_t>(loss->value)];
    return made < 0 ? nodes : made;
  }

  std::size_t offset_of_buffer(int b) const {
    if (b < 0) return kNoOffset;
    const Buffer& buffer = storage_.buffers[static_cast<std::size_t>(b)];
    if (buffer.home == Home::transient) {
      const int block = block_of_[static_cast<std::size_t>(b)];
      return program_.transients[static_cast<std::size_t>(block)].offset;
    }
    const std::string key =
        buffer.home == Home::data ? fmt::format("{}/{}", graph_.name(), buffer.name) : buffer.name;
    return fixed_.at(key);
  }

  void bind(std::size_t i) {
    Instruction& instruction = program_.instructions[i];
    for (const int b : bound_[i].operands) instruction.operands.push_back(offset_of_buffer(b));
    for (const int b : bound_[i].results) instruction.results.push_back(offset_of_buffer(b));
    if (scratch_block_[i] >= 0) {
      instruction.scratch = program_.transients[static_cast<std::size_t>(scratch_block_[i])].offset;
    }
  }

  const ir::Graph& graph_;
  const cost::MachineDescription& machine_;
  const std::map<std::string, std::size_t>& fixed_;
  std::size_t base_;
  Storage storage_;
  Program program_;
  std::vector<Bound> bound_;
  std::vector<int> block_of_;       // by buffer
  std::vector<int> scratch_block_;  // by instruction
};

// Lays out the persistent tensors: one after the other, in the order of their first appearance.
void lay_out_catalog(const std::vector<const ir::Graph*>& graphs, Plan& plan,
                     std::map<std::string, std::size_t>& fixed) {
  std::map<std::string, std::size_t> entry_of;
  for (const ir::Graph* graph : graphs) {
    for (const ir::Input& input : graph->inputs()) {
      if (!ir::is_persistent(input.role)) continue;
      const TensorType& type = graph->type(input.value);
      const auto [at, fresh] = entry_of.try_emplace(input.name, plan.catalog.size());
      if (fresh) {
        plan.catalog.push_back({input.name, input.role, type, 0});
      } else {
        const TensorType& there = plan.catalog[at->second].type;
        require(there == type, "{} is {} in one graph and {} in graph {}", input.name,
                to_string(there), to_string(type), graph->name());
      }
    }
  }
  std::stable_sort(plan.catalog.begin(), plan.catalog.end(),
                   [](const CatalogEntry& a, const CatalogEntry& b) { return a.role < b.role; });
  std::size_t offset = 0;
  for (CatalogEntry& entry : plan.catalog) {
    entry.offset = offset;
    fixed[entry.name] = offset;
    offset += align_up(entry.type.bytes());
  }
  plan.persistent_bytes = offset;
}

// Data inputs of one name and type share a place between the programs.
void lay_out_data(const std::vector<const ir::Graph*>& graphs, Plan& plan,
                  std::map<std::string, std::size_t>& fixed,
                  std::map<std::string, std::vector<Port>>& ports) {
  std::map<std::string, std::size_t> shared;
  std::size_t offset = plan.persistent_bytes;
  for (const ir::Graph* graph : graphs) {
    for (const ir::Input& input : graph->inputs()) {
      if (input.role != ir::Role::data) continue;
      const TensorType& type = graph->type(input.value);
      const auto [at, fresh] = shared.try_emplace(input.name + " " + to_string(type), offset);
      if (fresh) offset += align_up(type.bytes());
      fixed[fmt::format("{}/{}", graph->name(), input.name)] = at->second;
      ports[graph->name()].push_back({input.name, type, at->second});
    }
  }
  plan.data_bytes = offset - plan.persistent_bytes;
}

}  // namespace

Plan make_plan(const std::vector<const ir::Graph*>& graphs,
               const cost::MachineDescription& machine) {
  Plan plan;
  plan.machine = machine;
  std::map<std::string, std::size_t> fixed;  // offsets of persistent tensors and of GRAPH/data
  std::map<std::string, std::vector<Port>> data_ports;
  lay_out_catalog(graphs, plan, fixed);
  lay_out_data(graphs, plan, fixed, data_ports);
  const std::size_t base = plan.persistent_bytes + plan.data_bytes;
  std::size_t transient = 0;
  for (const ir::Graph* graph : graphs) {
    plan.programs.push_back(ProgramLowering(*graph, machine, fixed, base).run());
    plan.programs.back().data = std::move(data_ports[graph->name()]);
    transient = std::max(transient, plan.programs.back().transient_bytes);
  }
  plan.arena_bytes = base + transient;
  return plan;
}

double Program::predicted_seconds() const {
  double sum = 0;
  for (const Instruction& instruction : instructions) sum += instruction.seconds;
  return sum;
}

ops::Work Program::work() const {
  ops::Work sum;
  for (const Instruction& instruction : instructions) {
    sum.flops += instruction.work.flops;
    sum.bytes_read += instruction.work.bytes_read;
    sum.bytes_written += instruction.work.bytes_written;
  }
  return sum;
}

const Program* Plan::find(std::string_view name) const {
  for (const Program& candidate : programs) {
    if (candidate.name == name) return &candidate;
  }
  return nullptr;
}

const Program& Plan::program(std::string_view name) const {
  const Program* found = find(name);
  require(found != nullptr, "the plan has no program {}", name);
  return *found;
}

const CatalogEntry* Plan::find_tensor(std::string_view name) const {
  for (const CatalogEntry& entry : catalog) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace bessemer::plan
