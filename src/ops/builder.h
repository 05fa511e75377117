// Builds graphs: appends nodes with inferred types. Models and gradients are written with it.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "ops/op.h"

namespace bessemer::ops {

class Builder {
 public:
  /// Appends to `graph`, which must outlive the builder.
  explicit Builder(ir::Graph& graph) : graph_(graph) {}

  ir::Graph& graph() { return graph_; }
  const TensorType& type(ir::ValueId value) const { return graph_.type(value); }

  /// Label for the nodes that follow: "layers.0.attention".
  void set_label(std::string label) { label_ = std::move(label); }
  const std::string& label() const { return label_; }

  /// Appends a node and returns all its results. Error where the op refuses the operands.
  std::vector<ir::ValueId> all(std::string_view op, std::vector<ir::ValueId> operands,
                               Attributes attributes = {});

  /// The same, for ops of which only the first result matters.
  ir::ValueId add(std::string_view op, std::vector<ir::ValueId> operands,
                  Attributes attributes = {}) {
    return all(op, std::move(operands), std::move(attributes)).front();
  }

  ir::ValueId reshape(ir::ValueId x, Shape shape) {
    if (type(x).shape == shape) return x;
    return add("reshape", {x}, {{"shape", std::move(shape)}});
  }

  /// Sum of two values either of which may be absent.
  ir::ValueId sum(ir::ValueId a, ir::ValueId b) {
    if (a == ir::kAbsent) return b;
    if (b == ir::kAbsent) return a;
    return add("add", {a, b});
  }

 private:
  ir::Graph& graph_;
  std::string label_;
};

}  // namespace bessemer::ops
