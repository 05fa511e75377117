#include "passes/set_fp8.h"

#include <map>
#include <optional>
#include <set>

#include "base/log.h"
#include "ops/builder.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::ValueId;

enum class Product { forward, input_gradient, weight_gradient };

constexpr std::int64_t kBlock = 128;      // elements of a block, and of a side of a square
constexpr std::int64_t kTensorCore = 16;  // what sizes must be multiples of anyway

// With delayed scaling, of tensors of which nothing is known yet. What norms, attention and
// activation functions give is of the order of 1: from 64, E4M3 reaches down to 2^-9 without loss.
// A gradient is that of a mean over 2^6 tokens or more, and of the order of one over their number:
// from 2^-6, E5M2 reaches down to 2^-35, that of batches of many million tokens.
constexpr double kAssumedActivation = 64, kAssumedGradient = 0x1p-6;

constexpr const char* kActivation = "e4m3";
constexpr const char* kGradient = "e5m2";

std::size_t index(ValueId value) { return static_cast<std::size_t>(value); }

// All dimensions but the last as rows.
std::int64_t row_count(const TensorType& type) { return type.elements() / type.dim(-1); }

// What a graph says of the products of linear layers.
class Layers {
 public:
  explicit Layers(const ir::Graph& graph) : graph_(graph), made_by_(ir::producers(graph)) {
    for (const ir::Input& input : graph.inputs()) {
      const bool of_block = input.name.starts_with("layers.");
      const bool matrix = graph.type(input.value).rank() == 2;
      if (input.role == ir::Role::parameter && of_block && matrix) weights_.insert(input.value);
    }
    for (const ir::Node& node : graph.nodes()) {
      if (product_of(node) == Product::forward) activations_.insert(root(node.operands[0]));
    }
  }

  // The value whose rows these are, under whatever leading dimensions.
  ValueId root(ValueId value) const {
    for (;;) {
      const ir::Node* node = maker(value);
      if (node == nullptr || node->op != "reshape") return value;
      const ValueId before = node->operands[0];
      const TensorType& type = graph_.type(before);
      if (type.rank() < 2 || type.dim(-1) != graph_.type(value).dim(-1)) return value;
      value = before;
    }
  }

  // The parameter that `value` is a rounded copy of, where it is a layer's weight.
  ValueId weight(ValueId value) const {
    const ir::Node* node = maker(value);
    if (node != nullptr && node->op == "cast") value = node->operands[0];
    return weights_.contains(value) ? value : kAbsent;
  }

  std::optional<Product> product_of(const ir::Node& node) const {
    if (node.op != "matmul") return std::nullopt;
    const bool ta = node.attributes.boolean("transpose_a", false);
    const bool tb = node.attributes.boolean("transpose_b", false);
    if (weight(node.operands[1]) != kAbsent && !ta) {
      return tb ? Product::forward : Product::input_gradient;
    }
    const bool rows = graph_.type(node.operands[0]).rank() == 2;
    if (ta && !tb && rows && activations_.contains(root(node.operands[1]))) {
      return Product::weight_gradient;
    }
    return std::nullopt;
  }

 private:
  const ir::Node* maker(ValueId value) const {
    const int at = made_by_[index(value)];
    return at < 0 ? nullptr : &graph_.nodes()[static_cast<std::size_t>(at)];
  }

  const ir::Graph& graph_;
  std::vector<int> made_by_;
  std::set<ValueId> weights_;      // inputs
  std::set<ValueId> activations_;  // roots of what layers multiply
};

// A tensor in 8 bits, as it is and transposed, each with what scales it.
struct Quantized {
  ValueId q = kAbsent, scale = kAbsent, q_t = kAbsent, scale_t = kAbsent;
};

class Lowering {
 public:
  Lowering(const ir::Graph& source, Fp8Scaling scaling)
      : source_(source),
        layers_(source),
        target_(source.name()),
        builder_(target_),
        blocks_(scaling == Fp8Scaling::block),
        multiple_(blocks_ ? kBlock : kTensorCore) {
    if (scaling == Fp8Scaling::delayed) number_tensors();
  }

  ir::Graph run() {
    map_.assign(source_.values().size(), kAbsent);
    for (const ir::Input& input : source_.inputs()) {
      map_[index(input.value)] =
          target_.add_input(input.role, input.name, source_.type(input.value));
    }
    if (known_tensors_ > 0) {
      known_ = target_.add_input(ir::Role::optimizer, kFp8Amax, {DType::fp32, {known_tensors_}});
    }
    find_transposed();
    for (const ir::Node& node : source_.nodes()) lower(node);
    for (const ir::Output& output : source_.outputs()) {
      target_.outputs().push_back({output.kind, output.name, mapped(output.value)});
    }
    if (kept_ > 0) {
      log::info(
          "{}: {} of {} products of layers stay bf16: {} with a size that is no multiple of {}",
          source_.name(), kept_, kept_ + lowered_, refused_, multiple_);
    }
    return std::move(target_);
  }

 private:
  ValueId mapped(ValueId value) const { return value == kAbsent ? kAbsent : map_[index(value)]; }

  bool fits(const ir::Node& node) const {
    const TensorType& a = source_.type(node.operands[0]);
    const TensorType& b = source_.type(node.operands[1]);
    for (const std::int64_t size : {row_count(a), a.dim(-1), row_count(b), b.dim(-1)}) {
      if (size % multiple_ != 0) return false;
    }
    return true;
  }

  // Forward alone says how many there are, since every product has one gradient at most.
  void number_tensors() {
    const auto number = [&](const ir::Node& node, const char* format) {
      const auto next = static_cast<std::int64_t>(numbers_.size());
      numbers_.try_emplace({layers_.root(node.operands[0]), format}, next);
    };
    std::int64_t products = 0;
    for (const ir::Node& node : source_.nodes()) {
      if (layers_.product_of(node) != Product::forward || !fits(node)) continue;
      number(node, kActivation);
      ++products;
    }
    known_tensors_ = static_cast<std::int64_t>(numbers_.size()) + products;
    for (const ir::Node& node : source_.nodes()) {
      const auto product = layers_.product_of(node);
      if (product && product != Product::forward && fits(node)) number(node, kGradient);
    }
    require(std::ssize(numbers_) <= known_tensors_, "graph {} has {} gradients of {} products",
            source_.name(), std::ssize(numbers_) - known_tensors_ + products, products);
  }

  void find_transposed() {
    for (const ir::Node& node : source_.nodes()) {
      if (layers_.product_of(node) != Product::weight_gradient || !fits(node)) continue;
      for (const std::size_t i : {0, 1}) transposed_.insert(layers_.root(node.operands[i]));
    }
  }

  void lower(const ir::Node& node) {
    builder_.set_label(node.label);
    const auto product = layers_.product_of(node);
    if (product && fits(node)) {
      ++lowered_;
      map_[index(node.results[0])] = scaled(node, *product);
      return;
    }
    if (product) {
      ++kept_;
      if (refused_.empty()) refused_ = to_string(source_.type(node.operands[0]));
    }
    std::vector<ValueId> operands;
    for (const ValueId operand : node.operands) operands.push_back(mapped(operand));
    const auto results = builder_.all(node.op, std::move(operands), node.attributes);
    for (std::size_t i = 0; i < results.size(); ++i) map_[index(node.results[i])] = results[i];
  }

  ValueId scaled(const ir::Node& node, Product product) {
    const auto epilogue = [&](std::size_t i) {
      return i < node.operands.size() ? mapped(node.operands[i]) : kAbsent;
    };
    const char* rows = blocks_ ? "1x128" : "tensor";
    const char* squares = blocks_ ? "128x128" : "tensor";
    const ValueId a = node.operands[0], b = node.operands[1];
    std::vector<ValueId> operands;
    if (product == Product::weight_gradient) {
      const Quantized dy = gradient(a), x = activation(b);
      operands = {dy.q_t, dy.scale_t, x.q_t, x.scale_t};
    } else {
      const bool forward = product == Product::forward;
      const Quantized left = forward ? activation(a) : gradient(a);
      const Quantized w = weight(b);
      operands = {builder_.reshape(left.q, source_.type(a).shape), left.scale,
                  forward ? w.q : w.q_t, forward ? w.scale : w.scale_t};
    }
    for (const std::size_t i : {2, 3}) operands.push_back(epilogue(i));
    while (operands.back() == kAbsent) operands.pop_back();
    const DType dtype = source_.type(node.results[0]).dtype;
    return builder_.add(
        "scaled_matmul", std::move(operands),
        {{"block_a", std::string(rows)},
         {"block_b", std::string(product == Product::weight_gradient ? rows : squares)},
         {"dtype", std::string(name_of(dtype))}});
  }

  Quantized activation(ValueId value) {
    const ValueId root = layers_.root(value);
    return quantized(root, kActivation, blocks_ ? "1x128" : "tensor", transposed_.contains(root));
  }
  Quantized gradient(ValueId value) {
    const ValueId root = layers_.root(value);
    return quantized(root, blocks_ ? kActivation : kGradient, blocks_ ? "1x128" : "tensor",
                     transposed_.contains(root));
  }
  // Always with its transpose, so that graphs with and without backward share one copy.
  Quantized weight(ValueId value) {
    return quantized(layers_.weight(value), kActivation, blocks_ ? "128x128" : "tensor", true);
  }

  Quantized quantized(ValueId value, const char* format, const char* block, bool transposed) {
    const auto [at, fresh] = quantized_.try_emplace({value, format});
    if (!fresh) return at->second;
    std::vector<ValueId> operands{mapped(value)};
    Attributes attributes{{"format", std::string(format)}, {"block", std::string(block)}};
    if (const auto number = numbers_.find({value, format}); number != numbers_.end()) {
      operands.push_back(known_);
      attributes.set("indices", std::vector<std::int64_t>{number->second});
      attributes.set("assumed",
                     format == std::string_view(kGradient) ? kAssumedGradient : kAssumedActivation);
    } else if (!blocks_) {
      operands.push_back(builder_.add("amax", {mapped(value)}));
    }
    if (transposed) attributes.set("transposed", true);
    const auto results = builder_.all("quantize_fp8", std::move(operands), std::move(attributes));
    Quantized& made = at->second;
    made.q = results[0];
    made.scale = results[1];
    if (transposed) {
      made.q_t = results[2];
      made.scale_t = blocks_ ? results[3] : made.scale;
    }
    return made;
  }

  const ir::Graph& source_;
  Layers layers_;
  ir::Graph target_;
  ops::Builder builder_;
  bool blocks_;
  std::int64_t multiple_;  // of which all sizes of a product must be
  std::vector<ValueId> map_;
  std::set<ValueId> transposed_;                // roots that weight gradients multiply
  using Key = std::pair<ValueId, std::string>;  // a root and its format
  std::map<Key, Quantized> quantized_;
  std::map<Key, std::int64_t> numbers_;  // in `known_`
  std::int64_t known_tensors_ = 0;
  ValueId known_ = kAbsent;  // what tensors reached before
  int lowered_ = 0, kept_ = 0;
  std::string refused_;  // an operand of the first product that stays bf16
};

}  // namespace

ir::Graph set_fp8(ir::Graph graph, Fp8Scaling scaling) {
  return ir::without_dead_nodes(Lowering(graph, scaling).run());
}

}  // namespace bessemer::passes
