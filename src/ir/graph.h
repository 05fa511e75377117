// The one graph of the compiler, in static single assignment form.
//
// A graph is a list of inputs, a list of nodes in an order of execution (every operand is defined
// before its use) and a list of outputs. It is a value: passes take one and return the next.
//
//   graph accumulate
//   data %tokens: int32[4,128] "tokens"
//   parameter %w: fp32[512,64] "embedding.weight"
//   gradient %g: fp32[512,64] "gradient.embedding.weight"
//   %h: bf16[4,128,64] = embedding(%w, %tokens)   # embedding
//   ...
//   return "loss" %loss
//   write "gradient.embedding.weight" %g2
//
// Parameters and states carry stable dotted names: checkpoints, ledgers, logs and error messages
// use them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/attributes.h"
#include "base/tensor_type.h"
#include "ir/placement.h"
#include "ir/tier.h"

namespace bessemer::ir {

using ValueId = std::int32_t;

/// Stands for an absent optional operand.
inline constexpr ValueId kAbsent = -1;

struct Value {
  std::string name;  // unique in the graph; letters, digits, '_' and '.'
  TensorType type;
  Placement placement;
  Tier tier = Tier::device;
};

/// What an input is, and so which account of the memory ledger it falls into.
enum class Role : std::uint8_t {
  data,       // handed over at every run: tokens, targets, learning rate
  parameter,  // trained weights, in full precision
  gradient,   // accumulates over micro-batches
  optimizer,  // optimiser state
  weight,     // derived from parameters once per step: bf16 copies
  cache,      // keys and values of generation
};

std::string_view name_of(Role role);
std::optional<Role> parse_role(std::string_view name);

/// True for roles that outlive a run of the graph.
inline bool is_persistent(Role role) { return role != Role::data; }

struct Input {
  ValueId value = kAbsent;
  Role role = Role::data;
  std::string name;  // dotted
};

struct Node {
  std::string op;
  std::vector<ValueId> operands;  // kAbsent where an optional operand is not given
  std::vector<ValueId> results;
  Attributes attributes;
  std::string label;  // where in the model this comes from: "layers.0.norm1"
};

/// `write` outputs replace the content of the persistent input of that name; the others are
/// handed to the caller.
struct Output {
  enum class Kind : std::uint8_t { result, write };
  Kind kind = Kind::result;
  std::string name;
  ValueId value = kAbsent;
};

class Graph {
 public:
  explicit Graph(std::string name = "graph") : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  void set_name(std::string name) { name_ = std::move(name); }

  const std::vector<Value>& values() const { return values_; }
  const Value& value(ValueId id) const { return values_.at(static_cast<std::size_t>(id)); }
  Value& value(ValueId id) { return values_.at(static_cast<std::size_t>(id)); }
  const TensorType& type(ValueId id) const { return value(id).type; }
  Tier tier(ValueId id) const { return value(id).tier; }

  const std::vector<Input>& inputs() const { return inputs_; }
  const std::vector<Node>& nodes() const { return nodes_; }
  std::vector<Node>& nodes() { return nodes_; }
  const std::vector<Output>& outputs() const { return outputs_; }
  std::vector<Output>& outputs() { return outputs_; }

  /// Adds an input. Its value is named after the last part of the dotted name, made unique.
  ValueId add_input(Role role, std::string name, TensorType type);

  /// Appends a node whose results have the given types, and returns the results. The caller
  /// vouches for the types (ops::Builder infers them).
  std::vector<ValueId> add_node(Node node, const std::vector<TensorType>& result_types);

  void add_result(std::string name, ValueId value) {
    outputs_.push_back({Output::Kind::result, std::move(name), value});
  }
  void add_write(std::string name, ValueId value) {
    outputs_.push_back({Output::Kind::write, std::move(name), value});
  }

  /// Adds a value with a wanted name (made unique by a numeric ending); for the text parser and
  /// for passes that rebuild graphs.
  ValueId add_value(std::string_view wanted, TensorType type, Placement placement = {});

  /// Adds an input with an existing value; for the text parser.
  void bind_input(Input input) { inputs_.push_back(std::move(input)); }

  const Input* find_input(std::string_view name) const;
  const Output* find_output(std::string_view name) const;

  std::vector<Input>& inputs() { return inputs_; }

 private:
  std::string name_;
  std::vector<Value> values_;
  std::vector<Input> inputs_;
  std::vector<Node> nodes_;
  std::vector<Output> outputs_;
  std::unordered_map<std::string, int> next_suffix_;  // of each value name given so far
};

/// For each value, the index of the node that makes it, or -1 for inputs.
std::vector<int> producers(const Graph& graph);

/// For each value, the indices of the nodes that use it, in order (a node that uses it twice
/// stands there once).
std::vector<std::vector<int>> users(const Graph& graph);

/// Removes nodes none of whose results are used, transitively, and data inputs that nothing uses.
Graph without_dead_nodes(Graph graph);

}  // namespace bessemer::ir
