#include "plan/storage.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "ops/op.h"

namespace bessemer::plan {
namespace {

using ir::kAbsent;
using ir::ValueId;

class Assigner {
 public:
  explicit Assigner(const ir::Graph& graph)
      : graph_(graph), end_(static_cast<int>(graph.nodes().size())) {
    storage_.buffer_of.assign(graph.values().size(), -1);
  }

  Storage run() {
    find_roots();
    find_lifetimes();
    for (const ir::Input& input : graph_.inputs()) {
      const Home home = ir::is_persistent(input.role) ? Home::persistent : Home::data;
      add_buffer(input.value, {home, input.name, graph_.type(input.value).bytes(),
                               graph_.tier(input.value), -1, -1, false});
    }
    choose_homes_of_writes();
    for (int i = 0; i < end_; ++i) place_results(i);
    finish();
    return std::move(storage_);
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }
  const ir::Node& node(int i) const { return graph_.nodes()[static_cast<std::size_t>(i)]; }
  ValueId root(ValueId v) const { return root_[index(v)]; }
  int& buffer_of(ValueId v) { return storage_.buffer_of[index(v)]; }
  Buffer& buffer(int id) { return storage_.buffers[static_cast<std::size_t>(id)]; }

  // Views and stores into a tensor are followed down to the value whose bytes they show or change.
  void find_roots() {
    root_.resize(graph_.values().size());
    for (std::size_t i = 0; i < root_.size(); ++i) root_[i] = static_cast<ValueId>(i);
    for (const ir::Node& n : graph_.nodes()) {
      const ops::OpDefinition& op = ops::definition_of(n.op);
      if (op.is_view) root_[index(n.results[0])] = root(n.operands[0]);
      const auto updated = static_cast<std::size_t>(op.updates);
      if (op.updates >= 0 && updated < n.operands.size() && n.operands[updated] != kAbsent) {
        root_[index(n.results[0])] = root(n.operands[updated]);
      }
    }
  }

  void find_lifetimes() {
    made_at_.assign(graph_.values().size(), -1);
    last_use_.assign(graph_.values().size(), -1);
    for (int i = 0; i < end_; ++i) {
      for (const ValueId r : node(i).results) {
        if (root(r) == r) made_at_[index(r)] = i;
      }
      if (ops::definition_of(node(i).op).is_view) continue;
      for (const ValueId o : node(i).operands) {
        if (o != kAbsent) last_use_[index(root(o))] = std::max(last_use_[index(root(o))], i);
      }
    }
    for (const ir::Output& output : graph_.outputs()) {
      if (output.kind == ir::Output::Kind::result) last_use_[index(root(output.value))] = end_;
    }
  }

  int add_buffer(ValueId value, Buffer fresh) {
    storage_.buffers.push_back(std::move(fresh));
    return buffer_of(value) = static_cast<int>(storage_.buffers.size()) - 1;
  }

  // A write's value may be computed in the tensor's own place from the moment nothing reads the old
  // content, except the very node that replaces it, if it works in place. Values that are inputs
  // come first: their content is needed to the end, which the others must know.
  void choose_homes_of_writes() {
    home_of_.assign(graph_.values().size(), -1);
    for (const bool inputs : {true, false}) {
      for (const ir::Output& output : graph_.outputs()) {
        if (output.kind != ir::Output::Kind::write) continue;
        const bool is_input = made_at_[index(root(output.value))] < 0;
        if (is_input == inputs) choose_home(output);
      }
    }
  }

  void choose_home(const ir::Output& output) {
    const ValueId value = root(output.value);
    const ir::Input* input = graph_.find_input(output.name);
    require(input != nullptr, "write of \"{}\", which is no input", output.name);
    if (value == input->value) return;  // unchanged
    const int made = made_at_[index(value)];
    if (made >= 0 && home_of_[index(value)] < 0 && is_free_for(value, *input)) {
      home_of_[index(value)] = buffer_of(input->value);
      move_in_with(value, *input);
    } else {
      last_use_[index(value)] = end_;
      pending_copies_.push_back({value, *input});
    }
  }

  // Whether nothing needs the old content of `home` once `value` is made.
  bool is_free_for(ValueId value, const ir::Input& home) const {
    const int made = made_at_[index(value)], old_last = last_use_[index(home.value)];
    return old_last < made || (old_last == made && works_in_place(made, home.value, value));
  }

  // What `value` is computed in place of may be computed in the home as well, if it serves nothing
  // else; and so on back. A sum in the making (the gradient of tied embeddings, of which the head
  // makes its part long before the embedding adds its own) then takes no second buffer.
  void move_in_with(ValueId value, const ir::Input& home) {
    for (ValueId before = in_place_operand(value); before != kAbsent;
         before = in_place_operand(before)) {
      if (!is_free_for(before, home)) return;
      home_of_[index(before)] = buffer_of(home.value);
    }
  }

  // The value, made by a node and no output, that dies where `value` is made in its place.
  ValueId in_place_operand(ValueId value) const {
    const int made = made_at_[index(value)];
    for (const ValueId o : node(made).operands) {
      const ValueId operand = o == kAbsent ? kAbsent : root(o);
      if (operand == kAbsent || made_at_[index(operand)] < 0) continue;
      const bool fits = graph_.type(operand).dtype == graph_.type(value).dtype &&
                        graph_.type(operand).elements() == graph_.type(value).elements();
      const bool dies = last_use_[index(operand)] == made && !is_output(operand);
      if (fits && dies && home_of_[index(operand)] < 0 && works_in_place(made, operand, value)) {
        return operand;
      }
    }
    return kAbsent;
  }

  bool is_output(ValueId value) const {
    const auto& outputs = graph_.outputs();
    return std::any_of(outputs.begin(), outputs.end(),
                       [&](const ir::Output& output) { return root(output.value) == value; });
  }

  bool works_in_place(int i, ValueId operand, ValueId result) const {
    const ir::Node& n = node(i);
    const auto uses = std::count_if(n.operands.begin(), n.operands.end(),
                                    [&](ValueId o) { return o != kAbsent && root(o) == operand; });
    if (uses != 1) return false;
    for (const auto& [o, r] : ops::definition_of(n.op).in_place) {
      const auto ro = static_cast<std::size_t>(o), rr = static_cast<std::size_t>(r);
      if (ro < n.operands.size() && rr < n.results.size() && n.operands[ro] != kAbsent &&
          root(n.operands[ro]) == operand && n.results[rr] == result) {
        return true;
      }
    }
    return false;
  }

  void place_results(int i) {
    const ir::Node& n = node(i);
    if (ops::definition_of(n.op).is_view) return;
    for (const ValueId result : n.results) {
      if (root(result) != result) continue;
      if (home_of_[index(result)] >= 0) {
        buffer_of(result) = home_of_[index(result)];
      } else if (const int taken = operand_to_take_over(i, result); taken >= 0) {
        buffer_of(result) = taken;
      } else {
        add_buffer(result, {Home::transient, graph_.value(result).name, graph_.type(result).bytes(),
                            graph_.tier(result), i, i, false});
      }
      Buffer& b = buffer(buffer_of(result));
      b.last = std::max({b.last, i, last_use_[index(result)]});
    }
  }

  // The buffer of an operand that dies here and that the op may overwrite with `result`; -1: none.
  int operand_to_take_over(int i, ValueId result) {
    for (const auto& [o, r] : ops::definition_of(node(i).op).in_place) {
      const auto ro = static_cast<std::size_t>(o), rr = static_cast<std::size_t>(r);
      if (ro >= node(i).operands.size() || rr >= node(i).results.size()) continue;
      if (node(i).results[rr] != result || node(i).operands[ro] == kAbsent) continue;
      const ValueId operand = root(node(i).operands[ro]);
      const int candidate = buffer_of(operand);
      const TensorType& a = graph_.type(operand);
      const TensorType& b = graph_.type(result);
      const bool fits = a.dtype == b.dtype && a.elements() == b.elements() &&
                        graph_.tier(operand) == graph_.tier(result);
      const bool dies_here = last_use_[index(operand)] == i && buffer(candidate).last <= i;
      if (fits && dies_here && buffer(candidate).home == Home::transient &&
          works_in_place(i, operand, result) && !taken_at(i, candidate)) {
        taken_.emplace_back(i, candidate);
        return candidate;
      }
    }
    return -1;
  }

  bool taken_at(int i, int candidate) const {
    return std::find(taken_.begin(), taken_.end(), std::pair(i, candidate)) != taken_.end();
  }

  void finish() {
    for (std::size_t v = 0; v < root_.size(); ++v) {
      storage_.buffer_of[v] = storage_.buffer_of[index(root_[v])];
    }
    std::vector<FinalCopy> homeward;
    for (const auto& [value, input] : pending_copies_) {
      homeward.push_back({kept(value), buffer_of(input.value), input.name, graph_.type(value)});
    }
    for (const ir::Output& output : graph_.outputs()) {
      const bool result = output.kind == ir::Output::Kind::result;
      storage_.buffer_of_output.push_back(result ? kept(root(output.value)) : -1);
      if (result) buffer(storage_.buffer_of_output.back()).is_result = true;
    }
    storage_.copies.insert(storage_.copies.end(), homeward.begin(), homeward.end());
  }

  // The buffer that holds `value` after all copies: its own, or where the value is the old content
  // of a tensor that a copy replaces, one to which it is set aside before.
  int kept(ValueId value) {
    const auto copied_over = [&](const PendingCopy& copy) { return copy.to.value == value; };
    if (std::none_of(pending_copies_.begin(), pending_copies_.end(), copied_over)) {
      return buffer_of(value);
    }
    const auto [at, fresh] = aside_.try_emplace(value, static_cast<int>(storage_.buffers.size()));
    if (fresh) {
      const std::string name = buffer(buffer_of(value)).name;
      const TensorType& type = graph_.type(value);
      storage_.buffers.push_back(
          {Home::transient, "old " + name, type.bytes(), graph_.tier(value), end_, end_, false});
      storage_.copies.push_back({buffer_of(value), at->second, name, type});
    }
    return at->second;
  }

  struct PendingCopy {
    ValueId value;
    ir::Input to;
  };

  const ir::Graph& graph_;
  int end_;
  Storage storage_;
  std::vector<ValueId> root_;
  std::vector<int> made_at_;
  std::vector<int> last_use_;
  std::vector<int> home_of_;  // by value: the persistent buffer it is computed in, or -1
  std::vector<PendingCopy> pending_copies_;
  std::map<ValueId, int> aside_;            // buffers of old contents that outlive their tensor
  std::vector<std::pair<int, int>> taken_;  // (node, buffer): taken over once per node
};

}  // namespace

Storage assign_storage(const ir::Graph& graph) { return Assigner(graph).run(); }

}  // namespace bessemer::plan
