// Scaled dot-product attention (Vaswani et al., 2017) with grouped heads (Ainslie et al., 2023),
// from its definition: every probability is made, one query row at a time.
#include <cmath>
#include <limits>

#include "kernels/dropout_mask.h"
#include "kernels/reference/access.h"
#include "kernels/reference/reference.h"

namespace bessemer::kernels::reference {
namespace {

struct AttentionAttributes {
  explicit AttentionAttributes(const KernelRequest& request)
      : scale(request.attributes.real("scale")),
        causal(request.attributes.boolean("causal", false)),
        window(request.attributes.integer("window", 0)),
        dropout(request.attributes.real("dropout", 0.0)),
        site(static_cast<std::uint32_t>(request.attributes.integer("site", 0))) {
    threshold(dropout);  // refuses what is no probability now, not in the step
  }
  double scale;
  bool causal;
  std::int64_t window;
  double dropout;
  std::uint32_t site;
};

/// Shapes, visibility and dropout mask of one call. `first` is where q stands in the operand list.
class Geometry {
 public:
  Geometry(const Call& call, const AttentionAttributes& attributes, std::size_t first,
           std::size_t visibility, std::size_t counter)
      : batch(call.type(first).shape[0]),
        queries(call.type(first).shape[1]),
        heads(call.type(first).shape[2]),
        head_size(call.type(first).shape[3]),
        keys(call.type(first + 1).shape[1]),
        key_heads(call.type(first + 1).shape[2]),
        attributes_(attributes) {
    if (call.has(visibility)) visibility_ = call.operand(visibility);
    if (attributes.dropout > 0) {
      mask_.emplace(call.buffers().operand<std::int64_t>(counter), attributes.site,
                    attributes.dropout);
    }
  }

  std::size_t query_row(std::int64_t b, std::int64_t t, std::int64_t h) const {
    return static_cast<std::size_t>(((b * queries + t) * heads + h) * head_size);
  }
  std::size_t key_row(std::int64_t b, std::int64_t s, std::int64_t h) const {
    const std::int64_t key_head = h * key_heads / heads;
    return static_cast<std::size_t>(((b * keys + s) * key_heads + key_head) * head_size);
  }
  std::size_t statistic(std::int64_t b, std::int64_t h, std::int64_t t) const {
    return static_cast<std::size_t>((b * heads + h) * queries + t);
  }

  bool sees(std::int64_t b, std::int64_t t, std::int64_t s) const {
    const std::int64_t diagonal = t + keys - queries;
    if (attributes_.causal && s > diagonal) return false;
    if (attributes_.window > 0 && s <= diagonal - attributes_.window) return false;
    if (visibility_.empty()) return true;
    const auto interval = static_cast<std::size_t>((b * queries + t) * 2);
    const auto key = static_cast<double>(s);
    return visibility_[interval] <= key && key < visibility_[interval + 1];
  }

  /// What dropout multiplies a probability by: 0 or 1 / (1 - p).
  double kept(std::int64_t b, std::int64_t h, std::int64_t t, std::int64_t s) const {
    if (!mask_) return 1;
    const bool keep = mask_->keep(attention_dropout_index(b, h, t, s, heads, queries, keys));
    return keep ? keep_scale(attributes_.dropout) : 0;
  }

  /// Calls body(b, h, t) for every query of every head.
  template <typename Body>
  void for_each_query(const Body& body) const {
    for (std::int64_t b = 0; b < batch; ++b) {
      for (std::int64_t h = 0; h < heads; ++h) {
        for (std::int64_t t = 0; t < queries; ++t) body(b, h, t);
      }
    }
  }

  std::int64_t batch, queries, heads, head_size, keys, key_heads;

 private:
  const AttentionAttributes& attributes_;
  Doubles visibility_;  // empty: every query sees all of its sequence
  std::optional<DropoutMask> mask_;
};

double dot(const Doubles& a, std::size_t at, const Doubles& b, std::size_t bt, std::int64_t n) {
  double sum = 0;
  for (std::size_t d = 0; d < static_cast<std::size_t>(n); ++d) sum += a[at + d] * b[bt + d];
  return sum;
}

/// a[at...] += factor * b[bt...]
void accumulate(Doubles& a, std::size_t at, double factor, const Doubles& b, std::size_t bt,
                std::int64_t n) {
  for (std::size_t d = 0; d < static_cast<std::size_t>(n); ++d) a[at + d] += factor * b[bt + d];
}

void run_attention(const Call& call, const AttentionAttributes& attributes) {
  const Geometry g(call, attributes, 0, 3, 4);
  const Doubles q = call.operand(0), k = call.operand(1), v = call.operand(2);
  Doubles o = call.zeros(0), lse = call.zeros(1), scores(static_cast<std::size_t>(g.keys));
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  g.for_each_query([&](std::int64_t b, std::int64_t h, std::int64_t t) {
    const std::size_t query = g.query_row(b, t, h);
    double largest = kNothing;
    for (std::int64_t s = 0; s < g.keys; ++s) {
      double& score = scores[static_cast<std::size_t>(s)];
      score = g.sees(b, t, s) ? attributes.scale * dot(q, query, k, g.key_row(b, s, h), g.head_size)
                              : kNothing;
      largest = score > largest || std::isnan(score) ? score : largest;
    }
    double& row_lse = lse[g.statistic(b, h, t)];
    row_lse = kNothing;
    if (largest == kNothing) return;  // sees nothing: o stays 0
    double sum = 0;
    for (const double score : scores) sum += std::exp(score - largest);
    row_lse = largest + std::log(sum);
    for (std::int64_t s = 0; s < g.keys; ++s) {
      if (!g.sees(b, t, s)) continue;
      const double p = std::exp(scores[static_cast<std::size_t>(s)] - row_lse);
      accumulate(o, query, p * g.kept(b, h, t, s), v, g.key_row(b, s, h), g.head_size);
    }
  });
  call.set_result(0, o);
  call.set_result(1, lse);
}

/// With P the softmax, M the dropout multiplier and dP = M * (do . v):
///   dv = sum over queries of P M do,  dS = P (dP - sum over keys of P dP),
///   dq = scale * dS k,  dk = scale * dS q.
void run_attention_grad(const Call& call, const AttentionAttributes& attributes) {
  const Geometry g(call, attributes, 1, 6, 7);
  const Doubles d_o = call.operand(0), q = call.operand(1), k = call.operand(2);
  const Doubles v = call.operand(3), lse = call.operand(5);
  Doubles dq = call.zeros(0), dk = call.zeros(1), dv = call.zeros(2);
  Doubles p(static_cast<std::size_t>(g.keys)), dp(static_cast<std::size_t>(g.keys));
  g.for_each_query([&](std::int64_t b, std::int64_t h, std::int64_t t) {
    const std::size_t query = g.query_row(b, t, h);
    double mean = 0;  // of dp under p
    for (std::int64_t s = 0; s < g.keys; ++s) {
      if (!g.sees(b, t, s)) continue;
      const auto i = static_cast<std::size_t>(s);
      const std::size_t key = g.key_row(b, s, h);
      const double multiplier = g.kept(b, h, t, s);
      p[i] = std::exp(attributes.scale * dot(q, query, k, key, g.head_size) -
                      lse[g.statistic(b, h, t)]);
      dp[i] = multiplier * dot(d_o, query, v, key, g.head_size);
      mean += p[i] * dp[i];
      accumulate(dv, key, p[i] * multiplier, d_o, query, g.head_size);
    }
    for (std::int64_t s = 0; s < g.keys; ++s) {
      if (!g.sees(b, t, s)) continue;
      const auto i = static_cast<std::size_t>(s);
      const std::size_t key = g.key_row(b, s, h);
      const double ds = attributes.scale * p[i] * (dp[i] - mean);
      accumulate(dq, query, ds, k, key, g.head_size);
      accumulate(dk, key, ds, q, query, g.head_size);
    }
  });
  call.set_result(0, dq);
  call.set_result(1, dk);
  call.set_result(2, dv);
}

}  // namespace

Prepared attention(const KernelRequest& request) {
  const AttentionAttributes attributes(request);
  require(attributes.dropout == 0 || request.has_operand(4), "attention: dropout needs a counter");
  return make_reference(request,
                        [attributes](const Call& call) { run_attention(call, attributes); });
}

Prepared attention_grad(const KernelRequest& request) {
  const AttentionAttributes attributes(request);
  require(attributes.dropout == 0 || request.has_operand(7),
          "attention_grad: dropout needs a counter");
  return make_reference(request,
                        [attributes](const Call& call) { run_attention_grad(call, attributes); });
}

}  // namespace bessemer::kernels::reference
