#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "ops/movement.h"
#include "ops/tiers.h"
#include "passes/chunk.h"
#include "plan/assign.h"
#include "plan/plan.h"
#include "plan/storage.h"
#include "plan/streams.h"

namespace bessemer::plan {
namespace {

using ir::kAbsent;
using ir::ValueId;

struct Chosen {
  std::string name;
  kernels::Backend backend;
  std::shared_ptr<const kernels::Kernel> kernel;
};

Chosen choose_kernel(const ops::OpDefinition& op, const ops::OpUse& use,
                     const std::vector<TensorType>& results, const kernels::Machine& machine,
                     kernels::Backend backend, const std::string& label) {
  std::string refusals;
  for (const kernels::KernelCandidate& candidate : op.candidates) {
    if (candidate.backend != backend) continue;
    kernels::Prepared prepared =
        candidate.prepare({use.operands, results, use.attributes, machine});
    if (auto* kernel = std::get_if<std::unique_ptr<const kernels::Kernel>>(&prepared)) {
      return {std::string(candidate.name), backend, std::move(*kernel)};
    }
    const std::string& reason = std::get<kernels::Declined>(prepared).reason;
    log::debug("{} ({}): kernel {} declined: {}", op.name, label, candidate.name, reason);
    refusals += fmt::format("; {}: {}", candidate.name, reason);
  }
  fail("{} ({}): no kernel of the {} backend does it{}", op.name, label, name_of(backend),
       refusals);
}

// Places of persistent tensors by name and of data by GRAPH/name, and where each tier's transients
// begin.
struct Layout {
  std::map<std::string, Place> fixed;
  std::array<std::size_t, ir::kTiers> transients{};
};

// Plans one graph once the places of persistent tensors and data are known.
class ProgramLowering {
 public:
  ProgramLowering(const ir::Graph& graph, const cost::MachineDescription& machine,
                  const Layout& layout, const PlanOptions& options)
      : graph_(graph),
        machine_(machine),
        layout_(layout),
        options_(options),
        storage_(assign_storage(graph)) {}

  Program run() {
    program_.name = graph_.name();
    for (const ir::Node& node : graph_.nodes()) {
      if (!ops::definition_of(node.op).is_view) prepare(node);
    }
    for (const FinalCopy& copy : storage_.copies) prepare_copy(copy);
    keep_stored_values();
    assign();
    for (std::size_t i = 0; i < program_.instructions.size(); ++i) bind(i);
    set_waits(program_.instructions, accesses_);
    for (std::size_t i = 0; i < graph_.outputs().size(); ++i) {
      const ir::Output& output = graph_.outputs()[i];
      if (output.kind != ir::Output::Kind::result) continue;
      program_.results.push_back({output.name, graph_.type(output.value),
                                  place_of_buffer(storage_.buffer_of_output[i]).offset});
    }
    return std::move(program_);
  }

 private:
  struct Bound {
    std::vector<int> operands;  // buffers; -1: absent
    std::vector<int> results;
    int node = 0;  // its position in the graph, the clock of buffers' lives
    // A fetch or store that leaves its stream's tier: which buffer is off the device, and from
    // which of its bytes on.
    int lower = -1;
    std::size_t skipped = 0;
  };

  int buffer_of(ValueId v) const { return storage_.buffer_of[static_cast<std::size_t>(v)]; }

  void prepare(const ir::Node& node) {
    const ops::OpDefinition& op = ops::definition_of(node.op);
    const ops::OpUse use = ops::use_of(graph_, node);
    std::vector<TensorType> results;
    for (const ValueId r : node.results) results.push_back(graph_.type(r));
    Instruction instruction;
    instruction.op = node.op;
    instruction.label = node.label;
    instruction.chunks = passes::chunks_of(graph_, node);
    instruction.work = op.work(use, results);
    instruction.seconds = cost::predicted_seconds(use, instruction.work, machine_);
    Bound bound;
    bound.node = static_cast<int>(&node - graph_.nodes().data());
    instruction.moment = bound.node;
    for (const ValueId o : node.operands)
      bound.operands.push_back(o == kAbsent ? -1 : buffer_of(o));
    for (const ValueId r : node.results) bound.results.push_back(buffer_of(r));
    if (ops::moves_between_tiers(node.op)) prepare_transfer(node, instruction, bound);
    if (!instruction.file) {
      Chosen chosen = choose_kernel(op, use, results, machine_.cpu, backend_of(node), node.label);
      instruction.kernel = chosen.name;
      instruction.backend = chosen.backend;
      instruction.scratch_bytes = chosen.kernel->scratch_bytes();
      instruction.run = std::move(chosen.kernel);
    }
    program_.instructions.push_back(std::move(instruction));
    bound_.push_back(std::move(bound));
  }

  // What runs on the host tier's tensors is the processor's, also beside another device.
  kernels::Backend backend_of(const ir::Node& node) const {
    return ops::runs_on_host(graph_, node) ? kernels::Backend::cpu : machine_.cpu.device;
  }

  // A fetch or store between the device and a lower tier goes to its own stream. Between two places
  // on the device it is a copy like any other.
  void prepare_transfer(const ir::Node& node, Instruction& instruction, Bound& bound) {
    const bool fetch = node.op == "fetch";
    const ir::Tier tier = graph_.tier(fetch ? node.operands[0] : node.results[0]);
    const TensorType& moved = graph_.type(fetch ? node.results[0] : node.operands[0]);
    bound.lower = fetch ? bound.operands[0] : bound.results[0];
    bound.skipped =
        static_cast<std::size_t>(node.attributes.integer("begin", 0)) * size_of(moved.dtype);
    if (tier == ir::Tier::device) return;
    if (fetch) fetched_.insert(bound.results[0]);
    instruction.stream = fetch ? Stream::fetch : Stream::store;
    instruction.seconds = cost::transfer_seconds(
        static_cast<double>(moved.bytes()), tier,
        fetch ? cost::Direction::to_device : cost::Direction::from_device, machine_);
    if (tier != ir::Tier::file) return;
    instruction.kernel = "file";
    instruction.file =
        FileTransfer{fetch ? FileTransfer::Direction::read : FileTransfer::Direction::write, 0, 0,
                     moved.bytes()};
    const int on_device = fetch ? bound.results[0] : bound.operands[0];
    meets_file_.insert(on_device);
  }

  // What is being stored stays in its buffer until the store is expected to be done, so that the
  // arithmetic need not wait for it; but no more than a bounded number of bytes.
  void keep_stored_values() {
    double compute = 0, stored = 0;
    std::deque<std::pair<double, int>> kept;  // expected end of the store, buffer
    std::size_t bytes = 0;
    const auto release = [&](int node) {
      Buffer& buffer = storage_.buffers[static_cast<std::size_t>(kept.front().second)];
      buffer.last = std::max(buffer.last, node);
      bytes -= buffer.bytes;
      kept.pop_front();
    };
    for (std::size_t i = 0; i < program_.instructions.size(); ++i) {
      const Instruction& instruction = program_.instructions[i];
      while (!kept.empty() && kept.front().first <= compute) release(bound_[i].node);
      if (instruction.stream == Stream::compute) compute += instruction.seconds;
      if (instruction.stream != Stream::store) continue;
      stored = std::max(stored, compute) + instruction.seconds;
      const int source = bound_[i].operands[0];
      const Buffer& buffer = storage_.buffers[static_cast<std::size_t>(source)];
      if (buffer.home != Home::transient) continue;
      kept.emplace_back(stored, source);
      bytes += buffer.bytes;
      while (bytes > options_.stored_behind) release(bound_[i].node);
    }
    while (!kept.empty()) release(static_cast<int>(graph_.nodes().size()) - 1);
  }

  void prepare_copy(const FinalCopy& copy) {
    const Attributes attributes{{"shape", copy.type.shape}};
    const ops::OpUse use{{copy.type}, attributes};
    Chosen chosen = choose_kernel(ops::definition_of("reshape"), use, {copy.type}, machine_.cpu,
                                  machine_.cpu.device, copy.name);
    Instruction instruction;
    instruction.op = "copy";
    instruction.label = copy.name;
    instruction.kernel = chosen.name;
    instruction.backend = chosen.backend;
    instruction.run = std::move(chosen.kernel);
    instruction.work = ops::memory_work(use, std::vector{copy.type});
    instruction.seconds = cost::predicted_seconds(use, instruction.work, machine_);
    instruction.moment = static_cast<int>(graph_.nodes().size());
    for (const int b : {copy.from, copy.to}) {
      require(storage_.buffers[static_cast<std::size_t>(b)].tier != ir::Tier::file,
              "{} in the file tier would have to be copied at the end of {}", copy.name,
              graph_.name());
    }
    program_.instructions.push_back(std::move(instruction));
    bound_.push_back({{copy.from}, {copy.to}, program_.instructions.back().moment});
  }

  // Transient buffers of every tier, and each instruction's scratch, on the graph's clock.
  void assign() {
    list_transients();
    program_.transient_bytes =
        assign_tier(ir::Tier::device, program_.live_peak_bytes, program_.live_peak_at);
    for (const auto& [tier, lower] :
         {std::pair(ir::Tier::host, &program_.host), std::pair(ir::Tier::file, &program_.file)}) {
      lower->bytes = assign_tier(tier, lower->live_peak_bytes, lower->live_peak_at);
    }
  }

  void list_transients() {
    const int boundary = forward_end();
    transient_of_.assign(storage_.buffers.size(), -1);
    for (std::size_t b = 0; b < storage_.buffers.size(); ++b) {
      const Buffer& buffer = storage_.buffers[b];
      if (buffer.home != Home::transient) continue;
      transient_of_[b] = static_cast<int>(program_.transients.size());
      using Kind = TransientBuffer::Kind;
      const bool stash = buffer.first <= boundary && buffer.last > boundary;
      const Kind made_here = stash ? Kind::stash : Kind::transient;
      const Kind kind = buffer.is_result                         ? Kind::result
                        : fetched_.contains(static_cast<int>(b)) ? Kind::moving
                                                                 : made_here;
      program_.transients.push_back({buffer.name, kind, room_for(static_cast<int>(b), buffer), 0,
                                     buffer.first, buffer.last, buffer.tier});
    }
    scratch_of_.assign(bound_.size(), -1);
    for (std::size_t i = 0; i < bound_.size(); ++i) {
      const Instruction& instruction = program_.instructions[i];
      if (instruction.scratch_bytes == 0) continue;
      scratch_of_[i] = static_cast<int>(program_.transients.size());
      program_.transients.push_back({"scratch of " + instruction.op + " " + instruction.label,
                                     TransientBuffer::Kind::scratch, instruction.scratch_bytes, 0,
                                     bound_[i].node, bound_[i].node});
    }
  }

  // Direct file access wants aligned addresses and whole blocks: in the file all of a buffer, on
  // the device a buffer with room to move it to the next such address.
  std::size_t room_for(int b, const Buffer& buffer) const {
    if (buffer.tier == ir::Tier::file) return align_up(buffer.bytes, kFileAlignment);
    if (!meets_file_.contains(b)) return buffer.bytes;
    return align_up(buffer.bytes, kFileAlignment) + kFileAlignment - Arena::kAlignment;
  }

  std::size_t assign_tier(ir::Tier tier, std::size_t& peak_bytes, int& peak_at) {
    std::vector<Block> blocks;
    for (const TransientBuffer& t : program_.transients) {
      if (t.tier == tier) blocks.push_back({t.bytes, t.first, t.last, 0});
    }
    const std::size_t needed = assign_offsets(blocks);
    const LivePeak peak = live_peak(blocks, static_cast<int>(graph_.nodes().size()));
    peak_bytes = peak.bytes;
    peak_at = peak.at;
    std::size_t k = 0;
    for (TransientBuffer& t : program_.transients) {
      if (t.tier == tier) t.offset = layout_.transients[ir::index_of(tier)] + blocks[k++].offset;
    }
    return needed;
  }

  // The node that makes the loss: values that live across it are the stash.
  int forward_end() const {
    const ir::Output* loss = graph_.find_output("loss");
    const int nodes = static_cast<int>(graph_.nodes().size());
    if (loss == nullptr) return nodes;
    const int made = ir::producers(graph_)[static_cast<std::size_t>(loss->value)];
    return made < 0 ? nodes : made;
  }

  Place place_of_buffer(int b) const {
    if (b < 0) return {};
    const Buffer& buffer = storage_.buffers[static_cast<std::size_t>(b)];
    if (buffer.home == Home::transient) {
      const int t = transient_of_[static_cast<std::size_t>(b)];
      const std::size_t offset = program_.transients[static_cast<std::size_t>(t)].offset;
      return {meets_file_.contains(b) ? align_up(offset, kFileAlignment) : offset, buffer.tier};
    }
    const std::string key =
        buffer.home == Home::data ? fmt::format("{}/{}", graph_.name(), buffer.name) : buffer.name;
    return layout_.fixed.at(key);
  }

  void bind(std::size_t i) {
    Instruction& instruction = program_.instructions[i];
    const Bound& bound = bound_[i];
    for (const int b : bound.operands) instruction.operands.push_back(place_of_buffer(b));
    for (const int b : bound.results) instruction.results.push_back(place_of_buffer(b));
    if (scratch_of_[i] >= 0) {
      instruction.scratch = program_.transients[static_cast<std::size_t>(scratch_of_[i])].offset;
    }
    if (instruction.file) {
      const bool read = instruction.file->direction == FileTransfer::Direction::read;
      instruction.file->file_offset = place_of_buffer(bound.lower).offset + bound.skipped;
      instruction.file->device_offset =
          (read ? instruction.results : instruction.operands).front().offset;
    }
    accesses_.push_back(accesses_of(i));
  }

  std::vector<Access> accesses_of(std::size_t i) const {
    const Instruction& instruction = program_.instructions[i];
    const Bound& bound = bound_[i];
    std::vector<Access> accesses;
    const auto add = [&](int b, bool writes) {
      if (b < 0) return;
      const Place place = place_of_buffer(b);
      const std::size_t bytes = storage_.buffers[static_cast<std::size_t>(b)].bytes;
      accesses.push_back({place.tier, place.offset, place.offset + bytes, writes});
    };
    if (bound.lower >= 0) {  // only a part of what it names, and nothing of the tensor stored into
      const bool fetch = instruction.op == "fetch";
      add(fetch ? bound.results[0] : bound.operands[0], fetch);
      add(bound.lower, !fetch);
      accesses.back().begin += bound.skipped;
      const std::size_t moved = accesses.front().end - accesses.front().begin;
      accesses.back().end = accesses.back().begin + moved;
      return accesses;
    }
    for (const int b : bound.operands) add(b, false);
    for (const int b : bound.results) add(b, true);
    if (instruction.scratch_bytes > 0) {
      accesses.push_back({ir::Tier::device, instruction.scratch,
                          instruction.scratch + instruction.scratch_bytes, true});
    }
    return accesses;
  }

  const ir::Graph& graph_;
  const cost::MachineDescription& machine_;
  const Layout& layout_;
  const PlanOptions& options_;
  Storage storage_;
  Program program_;
  std::vector<Bound> bound_;
  std::vector<std::vector<Access>> accesses_;  // by instruction
  std::set<int> meets_file_;                   // buffers on the device that files are read to
  std::set<int> fetched_;                      // buffers on the device that hold what was fetched
  std::vector<int> transient_of_;              // by buffer
  std::vector<int> scratch_of_;                // by instruction
};

// Lays out the persistent tensors of each tier: one after the other, by role, in the order of their
// first appearance.
void lay_out_catalog(const std::vector<const ir::Graph*>& graphs, Plan& plan, Layout& layout) {
  std::map<std::string, std::size_t> entry_of;
  for (const ir::Graph* graph : graphs) {
    for (const ir::Input& input : graph->inputs()) {
      if (!ir::is_persistent(input.role)) continue;
      const TensorType& type = graph->type(input.value);
      const auto [at, fresh] = entry_of.try_emplace(input.name, plan.catalog.size());
      if (fresh) {
        plan.catalog.push_back({input.name, input.role, type, 0, graph->tier(input.value)});
        continue;
      }
      const CatalogEntry& there = plan.catalog[at->second];
      require(there.type == type, "{} is {} in one graph and {} in graph {}", input.name,
              to_string(there.type), to_string(type), graph->name());
      require(there.tier == graph->tier(input.value),
              "{} lies in the {} tier in one graph and in {} in graph {}", input.name,
              name_of(there.tier), name_of(graph->tier(input.value)), graph->name());
    }
  }
  std::stable_sort(plan.catalog.begin(), plan.catalog.end(),
                   [](const CatalogEntry& a, const CatalogEntry& b) { return a.role < b.role; });
  std::array<std::size_t, ir::kTiers> end{};
  for (CatalogEntry& entry : plan.catalog) {
    std::size_t& offset = end[ir::index_of(entry.tier)];
    entry.offset = offset;
    layout.fixed[entry.name] = {offset, entry.tier};
    offset += align_up(entry.type.bytes(),
                       entry.tier == ir::Tier::file ? kFileAlignment : Arena::kAlignment);
  }
  plan.persistent_bytes = end[ir::index_of(ir::Tier::device)];
  plan.host.persistent_bytes = end[ir::index_of(ir::Tier::host)];
  plan.file.persistent_bytes = end[ir::index_of(ir::Tier::file)];
}

void add_exchanges(const PlanOptions& options, Plan& plan) {
  const auto index_of = [&](const std::string& name) {
    const CatalogEntry* entry = plan.find_tensor(name);
    require(entry != nullptr, "{} is to change places, but no graph has it", name);
    return static_cast<std::size_t>(entry - plan.catalog.data());
  };
  std::set<std::size_t> used;
  for (const auto& [first, second] : options.exchanges) {
    const Exchange pair{index_of(first), index_of(second)};
    const CatalogEntry &a = plan.catalog[pair.first], &b = plan.catalog[pair.second];
    require(a.type == b.type && a.tier == b.tier,
            "{} ({}, {}) and {} ({}, {}) cannot change places", first, to_string(a.type),
            name_of(a.tier), second, to_string(b.type), name_of(b.tier));
    require(used.insert(pair.first).second && used.insert(pair.second).second,
            "{} or {} is to change places twice", first, second);
    plan.exchanges.push_back(pair);
  }
}

// Data inputs of one name and type share a place between the programs. Transients begin at a
// multiple of what direct file access asks for, so that how they lie does not depend on what stands
// before them: a program planned alone is the program of the whole plan.
void lay_out_data(const std::vector<const ir::Graph*>& graphs, Plan& plan, Layout& layout,
                  std::map<std::string, std::vector<Port>>& ports) {
  std::map<std::string, std::size_t> shared;
  std::size_t offset = plan.persistent_bytes;
  for (const ir::Graph* graph : graphs) {
    for (const ir::Input& input : graph->inputs()) {
      if (input.role != ir::Role::data) continue;
      const TensorType& type = graph->type(input.value);
      const auto [at, fresh] = shared.try_emplace(input.name + " " + to_string(type), offset);
      if (fresh) offset += align_up(type.bytes());
      layout.fixed[fmt::format("{}/{}", graph->name(), input.name)] = {at->second};
      ports[graph->name()].push_back({input.name, type, at->second});
    }
  }
  plan.data_bytes = align_up(offset, kFileAlignment) - plan.persistent_bytes;
}

}  // namespace

Plan make_plan(const std::vector<const ir::Graph*>& graphs, const cost::MachineDescription& machine,
               const PlanOptions& options) {
  Plan plan;
  plan.machine = machine;
  Layout layout;
  std::map<std::string, std::vector<Port>> data_ports;
  lay_out_catalog(graphs, plan, layout);
  add_exchanges(options, plan);
  lay_out_data(graphs, plan, layout, data_ports);
  layout.transients = {plan.persistent_bytes + plan.data_bytes, plan.host.persistent_bytes,
                       plan.file.persistent_bytes};
  std::array<std::size_t, ir::kTiers> most{};
  for (const ir::Graph* graph : graphs) {
    plan.programs.push_back(ProgramLowering(*graph, machine, layout, options).run());
    Program& program = plan.programs.back();
    program.data = std::move(data_ports[graph->name()]);
    most[0] = std::max(most[0], program.transient_bytes);
    most[1] = std::max(most[1], program.host.bytes);
    most[2] = std::max(most[2], program.file.bytes);
  }
  plan.arena_bytes = layout.transients[0] + most[0];
  plan.host.arena_bytes = layout.transients[1] + most[1];
  plan.file.arena_bytes = layout.transients[2] + most[2];
  return plan;
}

std::array<std::size_t, ir::kTiers> standing_bytes(const std::vector<const ir::Graph*>& graphs) {
  Plan plan;
  Layout layout;
  std::map<std::string, std::vector<Port>> data_ports;
  lay_out_catalog(graphs, plan, layout);
  lay_out_data(graphs, plan, layout, data_ports);
  return {plan.persistent_bytes + plan.data_bytes, plan.host.persistent_bytes,
          plan.file.persistent_bytes};
}

double Program::predicted_seconds() const {
  double end = 0;
  for (const Span& span : timeline(instructions)) end = std::max(end, span.end);
  return end;
}

std::size_t Plan::bytes(ir::Tier tier) const {
  switch (tier) {
    case ir::Tier::device: return arena_bytes;
    case ir::Tier::host: return host.arena_bytes;
    case ir::Tier::file: return file.arena_bytes;
  }
  return 0;
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
