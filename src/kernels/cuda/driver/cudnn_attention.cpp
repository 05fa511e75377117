// Attention as the operation graphs that cuDNN knows for its flash attention kernels. They are the
// textbook's formulas, a product of matrices or an element-wise step at a time; cuDNN recognizes
// them as a whole, so their order and the dtypes between them are as NVIDIA's cudnn-frontend has
// them. Forward: 4·D flops for each pair of query and key, backward 10·D.
#include "kernels/cuda/cudnn_attention.h"

#include <cmath>
#include <memory>

#include <fmt/format.h>

#include "base/arena.h"
#include "kernels/attention_problem.h"
#include "kernels/cuda/driver/cudnn_graph.h"

namespace bessemer::kernels::cuda {
namespace {

using Graph = CudnnGraph;
using Tensor = CudnnGraph::Tensor;
using Dims = CudnnGraph::Dims;

constexpr std::int64_t kTokens = 128;  // of which there is a multiple: cuDNN before 9.16 errs else
constexpr std::size_t kWorkspaceAlignment = 256;
constexpr std::int64_t kLittleWorkspace = std::int64_t{1} << 20;

std::optional<std::string> refusal(const KernelRequest& request, std::size_t visibility,
                                   const AttentionProblem& problem) {
  const std::int64_t size = problem.head_size;
  if (problem.dtype != DType::bf16) {
    return fmt::format("{}: takes bf16", name_of(problem.dtype));
  }
  if (request.has_operand(visibility)) return "cuDNN does not know this form of visibility";
  if (problem.dropout > 0) return "the masks of cuDNN's dropout are others than ours";
  if (size < 64 || size > 128 || size % 8 != 0) {
    return fmt::format("head size {}: takes multiples of 8 from 64 to 128", size);
  }
  if (problem.queries != problem.keys || problem.queries % kTokens != 0) {
    return fmt::format("{} queries and {} keys: takes as many of both, a multiple of {}",
                       problem.queries, problem.keys, kTokens);
  }
  return {};
}

/// The tensors and numbers that both graphs have.
class AttentionGraph {
 public:
  explicit AttentionGraph(const AttentionProblem& problem)
      : problem_(problem), scale_(graph_.number(problem.scale)) {}

  Graph& graph() { return graph_; }
  const Graph& graph() const { return graph_; }

  Tensor of_queries() { return heads_of(problem_.heads); }
  Tensor of_keys() { return heads_of(problem_.key_heads); }
  /// The same memory with tokens and elements of a head exchanged.
  Tensor transposed_keys() {
    const std::int64_t d = problem_.head_size, k = problem_.key_heads, t = problem_.keys;
    return graph_.memory(CUDNN_DATA_BFLOAT16, {problem_.batch, k, d, t}, {t * k * d, d, 1, k * d});
  }
  Tensor statistic() {
    const Dims dims = rows();
    return graph_.memory(CUDNN_DATA_FLOAT, dims, {dims[1] * dims[2], dims[2], 1, 1});
  }

  Dims rows() const { return {problem_.batch, problem_.heads, problem_.queries, 1}; }
  Dims pairs() const { return {problem_.batch, problem_.heads, problem_.queries, problem_.keys}; }

  Tensor scaled(const Tensor& x) { return graph_.pointwise({CUDNN_POINTWISE_MUL}, {x, scale_}); }
  Tensor scaled_scores(const Tensor& q, const Tensor& keys_transposed) {
    const Tensor scores = graph_.inner(CUDNN_DATA_FLOAT, pairs());
    graph_.matmul(q, keys_transposed, scores);
    return scaled(scores);
  }

  /// What a query does not see becomes -infinity.
  Tensor masked(Tensor scores) {
    if (problem_.causal) {
      scores = kept_where(scores, index(scores, 2), CUDNN_POINTWISE_CMP_GE, index(scores, 3));
    }
    if (problem_.window > 0) {
      const Tensor row = index(scores, 2), column = index(scores, 3);
      const Tensor window = graph_.number(static_cast<float>(problem_.window));
      const Tensor last = graph_.pointwise({CUDNN_POINTWISE_ADD}, {column, window});
      scores = kept_where(scores, last, CUDNN_POINTWISE_CMP_GT, row);
    }
    return scores;
  }

 private:
  Tensor heads_of(std::int64_t heads) {
    const std::int64_t d = problem_.head_size, t = problem_.queries;
    return graph_.memory(CUDNN_DATA_BFLOAT16, {problem_.batch, heads, t, d},
                         {t * heads * d, d, heads * d, 1});
  }
  Tensor index(const Tensor& of, std::int64_t axis) {
    return graph_.pointwise({CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, CUDNN_DATA_FLOAT, axis},
                            {of});
  }
  Tensor kept_where(const Tensor& scores, const Tensor& a, cudnnPointwiseMode_t compare,
                    const Tensor& b) {
    const Tensor kept = graph_.pointwise({compare, CUDNN_DATA_BOOLEAN, CUDNN_DATA_BOOLEAN}, {a, b});
    const Tensor hidden = graph_.number(-INFINITY);
    return graph_.pointwise({CUDNN_POINTWISE_BINARY_SELECT}, {scores, hidden, kept});
  }

  const AttentionProblem& problem_;
  Graph graph_;
  Tensor scale_;
};

class ForwardGraph {
 public:
  explicit ForwardGraph(const AttentionProblem& problem)
      : common_(problem),
        q_(common_.of_queries()),
        k_(common_.transposed_keys()),
        v_(common_.of_keys()),
        o_(common_.of_queries()),
        lse_(common_.statistic()) {
    Graph& graph = common_.graph();
    const Tensor scores = common_.masked(common_.scaled_scores(q_, k_));
    const Tensor top = graph.inner(CUDNN_DATA_FLOAT, common_.rows());
    graph.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, top);
    const Tensor powers = graph.pointwise({CUDNN_POINTWISE_EXP},
                                          {graph.pointwise({CUDNN_POINTWISE_SUB}, {scores, top})});
    const Tensor sum = graph.inner(CUDNN_DATA_FLOAT, common_.rows());
    graph.reduce(CUDNN_REDUCE_TENSOR_ADD, powers, sum);
    graph.pointwise({CUDNN_POINTWISE_ADD}, {top, graph.pointwise({CUDNN_POINTWISE_LOG}, {sum})},
                    lse_);
    const Tensor weights =
        graph.pointwise({CUDNN_POINTWISE_DIV, CUDNN_DATA_BFLOAT16}, {powers, sum});
    graph.matmul(weights, v_, o_);
    graph.make_plan(kLittleWorkspace);
  }

  void run(const KernelBuffers& buffers) const {
    const std::pair<Tensor, const void*> tensors[] = {{q_, buffers.operand<void>(0)},
                                                      {k_, buffers.operand<void>(1)},
                                                      {v_, buffers.operand<void>(2)},
                                                      {o_, buffers.result<void>(0)},
                                                      {lse_, buffers.result<void>(1)}};
    common_.graph().run(tensors, buffers.scratch, buffers.stream);
  }

 private:
  AttentionGraph common_;
  Tensor q_, k_, v_, o_, lse_;
};

std::size_t sum_bytes(const AttentionProblem& problem) {
  const auto rows = static_cast<std::size_t>(problem.batch * problem.heads * problem.queries);
  return align_up(rows * sizeof(float), kWorkspaceAlignment);
}

/// Of the deterministic form: the gradients of all scores in bf16, and those of k and v by each
/// query head where these share key heads.
std::int64_t gradient_workspace(const AttentionProblem& problem) {
  const std::int64_t rows = problem.batch * problem.heads * problem.keys;
  const std::int64_t shared = problem.key_heads < problem.heads ? 2 * problem.head_size : 0;
  return 2 * rows * (problem.queries + shared) + kLittleWorkspace;
}

class BackwardGraph {
 public:
  explicit BackwardGraph(const AttentionProblem& problem)
      : common_(problem),
        problem_(problem),
        d_o_(common_.of_queries()),
        q_(common_.of_queries()),
        k_(common_.transposed_keys()),
        v_(common_.transposed_keys()),
        o_(common_.of_queries()),
        lse_(common_.statistic()),
        sums_(common_.statistic()),
        dq_(common_.of_queries()),
        dk_(common_.of_keys()),
        dv_(common_.of_keys()) {
    Graph& graph = common_.graph();
    sum_products();
    const Tensor distances =
        graph.pointwise({CUDNN_POINTWISE_SUB}, {common_.scaled_scores(q_, k_), lse_});
    const Tensor weights = graph.pointwise({CUDNN_POINTWISE_EXP}, {common_.masked(distances)});
    of_keys(weights, d_o_, dv_);

    const Tensor of_weights = graph.inner(CUDNN_DATA_FLOAT, common_.pairs());
    graph.matmul(d_o_, v_, of_weights);
    const Tensor of_scores = common_.scaled(
        graph.pointwise({CUDNN_POINTWISE_MUL},
                        {graph.pointwise({CUDNN_POINTWISE_SUB}, {of_weights, sums_}), weights}));
    of_keys(of_scores, q_, dk_);

    const std::int64_t d = problem.head_size, k = problem.key_heads, t = problem.keys;
    const Tensor keys =
        graph.inner(CUDNN_DATA_BFLOAT16, {problem.batch, k, t, d}, {t * k * d, d, k * d, 1});
    graph.reshape(k_, keys);
    graph.matmul(of_scores, keys, dq_);
    graph.make_plan(gradient_workspace(problem));
  }

  void run(const KernelBuffers& buffers) const {
    auto* scratch = static_cast<std::byte*>(buffers.scratch);
    const std::pair<Tensor, const void*> tensors[] = {{d_o_, buffers.operand<void>(0)},
                                                      {q_, buffers.operand<void>(1)},
                                                      {k_, buffers.operand<void>(2)},
                                                      {v_, buffers.operand<void>(3)},
                                                      {o_, buffers.operand<void>(4)},
                                                      {lse_, buffers.operand<void>(5)},
                                                      {sums_, scratch},
                                                      {dq_, buffers.result<void>(0)},
                                                      {dk_, buffers.result<void>(1)},
                                                      {dv_, buffers.result<void>(2)}};
    common_.graph().run(tensors, scratch + sum_bytes(problem_), buffers.stream);
  }

 private:
  // Of do·o over the elements of a head. The factor is where dropout would have its own; cuDNN
  // knows the graph only with it.
  void sum_products() {
    Graph& graph = common_.graph();
    const Tensor sum = graph.inner(CUDNN_DATA_FLOAT, common_.rows());
    graph.reduce(CUDNN_REDUCE_TENSOR_ADD, graph.pointwise({CUDNN_POINTWISE_MUL}, {d_o_, o_}), sum);
    graph.pointwise({CUDNN_POINTWISE_MUL}, {sum, graph.number(1)}, sums_);
  }

  // pairsᵀ · x, added over the query heads of a key head.
  void of_keys(const Tensor& pairs, const Tensor& x, const Tensor& result) {
    Graph& graph = common_.graph();
    const std::int64_t batch = problem_.batch, heads = problem_.heads;
    const std::int64_t queries = problem_.queries, keys = problem_.keys;
    const Tensor transposed = graph.inner(CUDNN_DATA_BFLOAT16, {batch, heads, keys, queries},
                                          {heads * queries * keys, queries * keys, 1, keys});
    graph.reshape(pairs, transposed);
    if (problem_.key_heads == heads) return graph.matmul(transposed, x, result);
    const Tensor by_head =
        graph.inner(CUDNN_DATA_BFLOAT16, {batch, heads, keys, problem_.head_size});
    graph.matmul(transposed, x, by_head);
    graph.reduce(CUDNN_REDUCE_TENSOR_ADD, by_head, result);
  }

  AttentionGraph common_;
  const AttentionProblem& problem_;
  Tensor d_o_, q_, k_, v_, o_, lse_, sums_, dq_, dk_, dv_;
};

template <typename OfGraph>
class CudnnKernel final : public Kernel {
 public:
  CudnnKernel(const AttentionProblem& problem, std::size_t scratch)
      : problem_(problem), scratch_(scratch) {}

  std::size_t scratch_bytes() const override { return scratch_; }
  void load() const override {
    if (graph_ == nullptr) graph_ = std::make_unique<const OfGraph>(problem_);
  }
  void run(const KernelBuffers& buffers) const override {
    require(graph_ != nullptr, "attention by cuDNN runs before it is loaded");
    graph_->run(aligned(buffers));
  }

 private:
  // cuDNN's workspace is at a multiple of 256 bytes, scratch of one of 64.
  static KernelBuffers aligned(KernelBuffers buffers) {
    const auto address = reinterpret_cast<std::uintptr_t>(buffers.scratch);
    buffers.scratch = reinterpret_cast<void*>(align_up(address, kWorkspaceAlignment));
    return buffers;
  }

  AttentionProblem problem_;
  std::size_t scratch_;
  mutable std::unique_ptr<const OfGraph> graph_;  // by load()
};

template <typename OfGraph, typename Scratch>
Prepared prepare(const KernelRequest& request, std::size_t q, std::size_t optionals,
                 const Scratch& scratch) {
  const auto read = read_attention(request, q, q + 1, optionals);
  if (const auto* declined = std::get_if<Declined>(&read)) return *declined;
  const auto& problem = std::get<AttentionProblem>(read);
  if (auto reason = refusal(request, optionals, problem)) return Declined{*reason};
  return std::unique_ptr<const Kernel>(std::make_unique<CudnnKernel<OfGraph>>(
      problem, kWorkspaceAlignment + static_cast<std::size_t>(scratch(problem))));
}

}  // namespace

Prepared cudnn_attention(const KernelRequest& request) {
  return prepare<ForwardGraph>(request, 0, 3,
                               [](const AttentionProblem&) { return kLittleWorkspace; });
}

Prepared cudnn_attention_grad(const KernelRequest& request) {
  return prepare<BackwardGraph>(request, 1, 6, [](const AttentionProblem& problem) {
    return static_cast<std::int64_t>(sum_bytes(problem)) + gradient_workspace(problem);
  });
}

}  // namespace bessemer::kernels::cuda
