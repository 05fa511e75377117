#include "passes/set_precision.h"

#include <map>

#include "base/error.h"
#include "ops/builder.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

// Ops whose first two operands are the factors of a matrix product and must share one dtype.
bool multiplies_matrices(const ir::Node& node) { return node.op == "matmul"; }

// Where the head's operands stand: (x, w) of linear_cross_entropy and of its gradient.
int head_operand(const ir::Node& node) {
  if (node.op == "linear_cross_entropy") return 0;
  if (node.op == "linear_cross_entropy_grad") return 1;
  return -1;
}

// Values that become a parameter's gradient (or another write) without meeting an op that computes
// in higher precision anyway: these must not be rounded on the way.
std::vector<bool> values_kept_wide(const ir::Graph& graph) {
  std::vector<bool> wide(graph.values().size(), false);
  for (const ir::Output& output : graph.outputs())
    wide[static_cast<std::size_t>(output.value)] = true;
  for (std::size_t i = graph.nodes().size(); i-- > 0;) {
    const ir::Node& node = graph.nodes()[i];
    const bool passes_on = node.op == "add" || node.op == "reshape" || node.op == "scale" ||
                           node.op == "transpose" || node.op == "concat" || node.op == "slice" ||
                           node.op == "pad";
    if (!passes_on || !wide[static_cast<std::size_t>(node.results[0])]) continue;
    for (const ValueId operand : node.operands) {
      if (operand != kAbsent) wide[static_cast<std::size_t>(operand)] = true;
    }
  }
  return wide;
}

class Lowering {
 public:
  Lowering(const ir::Graph& source, DType parameters)
      : source_(source),
        parameters_(parameters),
        target_(source.name()),
        builder_(target_),
        wide_(values_kept_wide(source)) {}

  ir::Graph run() {
    map_.assign(source_.values().size(), kAbsent);
    for (const ir::Input& input : source_.inputs()) {
      TensorType type = source_.type(input.value);
      if (input.role == ir::Role::cache) type.dtype = DType::bf16;  // holds activations
      if (input.role == ir::Role::parameter && type.rank() >= 2) type.dtype = parameters_;
      map_[index(input.value)] = target_.add_input(input.role, input.name, std::move(type));
    }
    for (const ir::Node& node : source_.nodes()) lower(node);
    for (const ir::Output& output : source_.outputs()) {
      ValueId value = map_[index(output.value)];
      const ir::Input* written = source_.find_input(output.name);
      const bool cache = written != nullptr && written->role == ir::Role::cache;
      if (!cache) value = in_dtype(value, source_.type(output.value).dtype);
      target_.outputs().push_back({output.kind, output.name, value});
    }
    return std::move(target_);
  }

 private:
  static std::size_t index(ValueId id) { return static_cast<std::size_t>(id); }

  // The value in `dtype`; one cast is shared by all uses.
  ValueId in_dtype(ValueId value, DType dtype) {
    if (target_.type(value).dtype == dtype) return value;
    const auto [at, fresh] = casts_.try_emplace({value, dtype}, kAbsent);
    if (fresh) at->second = builder_.add("cast", {value}, {{"dtype", std::string(name_of(dtype))}});
    return at->second;
  }

  void lower(const ir::Node& node) {
    builder_.set_label(node.label);
    std::vector<ValueId> operands;
    for (const ValueId operand : node.operands) {
      operands.push_back(operand == kAbsent ? kAbsent : map_[index(operand)]);
    }
    Attributes attributes = node.attributes;
    const bool wide =
        wide_[index(node.results[0])] && source_.type(node.results[0]).dtype == DType::fp32;
    if (multiplies_matrices(node)) {
      for (std::size_t i = 0; i < 2; ++i) operands[i] = in_dtype(operands[i], DType::bf16);
      set_result_dtype(attributes, wide);
    } else if (const int x = head_operand(node); x >= 0) {
      for (const int i : {x, x + 1}) {
        operands[static_cast<std::size_t>(i)] =
            in_dtype(operands[static_cast<std::size_t>(i)], DType::bf16);
      }
    } else if (node.op == "embedding") {
      attributes.set("dtype", std::string("bf16"));
    } else if (node.op == "reduce_sum") {
      set_result_dtype(attributes, wide);
    } else if (node.op == "add" && operands.size() == 2) {
      widen_sum(node, operands, wide);
    }
    const std::vector<ValueId> results = builder_.all(node.op, operands, std::move(attributes));
    for (std::size_t i = 0; i < results.size(); ++i) map_[index(node.results[i])] = results[i];
  }

  // Gradients name the dtype of the fp32 graph; here the result follows its operands unless kept.
  static void set_result_dtype(Attributes& attributes, bool wide) {
    attributes.erase("dtype");
    if (wide) attributes.set("dtype", std::string("fp32"));
  }

  // A sum of like shapes has one dtype: fp32 where it is kept wide, else the narrower of the two.
  void widen_sum(const ir::Node& node, std::vector<ValueId>& operands, bool wide) {
    const DType a = target_.type(operands[0]).dtype;
    const DType b = target_.type(operands[1]).dtype;
    if (a == b) return;
    const bool same_shape =
        source_.type(node.operands[0]).shape == source_.type(node.operands[1]).shape;
    if (!same_shape) {  // a broadcast term (a position table, say) may stay fp32; the sum follows a
      if (a == DType::fp32) operands[0] = in_dtype(operands[0], wide ? DType::fp32 : b);
      return;
    }
    const DType dtype = wide ? DType::fp32 : DType::bf16;
    for (ValueId& operand : operands) operand = in_dtype(operand, dtype);
  }

  const ir::Graph& source_;
  DType parameters_;  // of matrices
  ir::Graph target_;
  ops::Builder builder_;
  std::vector<bool> wide_;
  std::vector<ValueId> map_;
  std::map<std::pair<ValueId, DType>, ValueId> casts_;
};

ir::Graph in_tf32(ir::Graph graph) {
  for (ir::Node& node : graph.nodes()) {
    if (multiplies_matrices(node) || head_operand(node) >= 0) node.attributes.set("tf32", true);
  }
  return graph;
}

}  // namespace

ir::Graph set_precision(ir::Graph graph, Precision precision) {
  const auto [recipe, parameters] = precision;
  const bool wide = recipe == Recipe::fp32 || recipe == Recipe::tf32;
  require(parameters == DType::fp32 || !wide, "parameters in {} under an fp32 recipe",
          name_of(parameters));
  if (recipe == Recipe::fp32) return graph;
  if (recipe == Recipe::tf32) return in_tf32(std::move(graph));
  return ir::without_dead_nodes(Lowering(graph, parameters).run());
}

}  // namespace bessemer::passes
