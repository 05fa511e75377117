#include "kernels/cpu/onednn_product.h"

#include <cstring>
#include <dnnl.hpp>

#include "base/arena.h"
#include "base/error.h"

namespace bessemer::kernels::cpu {
namespace {

using dnnl::memory;

memory::data_type type_of(DType dtype) {
  return dtype == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

// Rows, or columns where `transposed`, that begin `stride` elements apart.
memory::desc matrix(std::int64_t rows, std::int64_t columns, DType dtype, bool transposed,
                    std::int64_t stride) {
  const memory::dims strides = transposed ? memory::dims{1, stride} : memory::dims{stride, 1};
  return {{rows, columns}, type_of(dtype), strides};
}

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::primitive_attr attributes_of(const ProductSpec& spec) {
  dnnl::post_ops post;
  switch (spec.activation) {
    case Activation::gelu_tanh:
      post.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_tanh, 0, 0);
      break;
    case Activation::gelu:
      post.append_eltwise(1.0f, dnnl::algorithm::eltwise_gelu_erf, 0, 0);
      break;
    case Activation::silu:
      post.append_eltwise(1.0f, dnnl::algorithm::eltwise_swish, 1.0f, 0);
      break;
    case Activation::none: break;
  }
  if (spec.addend) post.append_sum(1.0f);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(post);
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

dnnl::matmul::primitive_desc describe(const ProductSpec& s) {
  const auto a = matrix(s.m, s.k, s.a, s.transpose_a, s.a_stride());
  const auto b = matrix(s.k, s.n, s.b, s.transpose_b, s.transpose_b ? s.k : s.n);
  const auto result = matrix(s.m, s.n, s.result, false, s.result_stride());
  if (!s.bias) return {dnnl::matmul::desc(a, b, result), attributes_of(s), engine()};
  const auto bias = matrix(1, s.n, *s.bias, false, s.n);
  return {dnnl::matmul::desc(a, b, bias, result), attributes_of(s), engine()};
}

class OneDnnProduct final : public Product {
 public:
  OneDnnProduct(const ProductSpec& spec, const dnnl::matmul::primitive_desc& description)
      : rows_(spec.m),
        row_bytes_(static_cast<std::size_t>(spec.n) * size_of(spec.result)),
        row_stride_(static_cast<std::size_t>(spec.result_stride()) * size_of(spec.result)),
        scratch_bytes_(align_up(description.scratchpad_desc().get_size())),
        addend_(spec.addend),
        bias_(spec.bias.has_value()),
        primitive_(description),
        stream_(engine()),
        a_(description.src_desc(), engine(), nullptr),
        b_(description.weights_desc(), engine(), nullptr),
        result_(description.dst_desc(), engine(), nullptr),
        scratch_(description.scratchpad_desc(), engine(), nullptr) {
    if (bias_) bias_memory_ = memory(description.bias_desc(), engine(), nullptr);
  }

  std::size_t scratch_bytes() const override { return scratch_bytes_; }

  void run(const ProductBuffers& buffers) const override {
    // The sum post-op adds to what the result holds.
    if (addend_ && buffers.addend != buffers.result) {
      copy_rows(buffers.addend, buffers.result);
    }
    set(a_, buffers.a);
    set(b_, buffers.b);
    set(result_, buffers.result);
    set(scratch_, buffers.scratch);
    if (bias_) set(bias_memory_, buffers.bias);
    const dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, a_.get()},
                                         {DNNL_ARG_WEIGHTS, b_.get()},
                                         {DNNL_ARG_DST, result_.get()},
                                         {DNNL_ARG_SCRATCHPAD, scratch_.get()},
                                         {DNNL_ARG_BIAS, bias_ ? bias_memory_.get() : nullptr}};
    check(dnnl_primitive_execute(primitive_.get(), stream_.get(), bias_ ? 5 : 4, arguments));
    check(dnnl_stream_wait(stream_.get()));
  }

 private:
  void copy_rows(const void* from, void* to) const {
    const auto* source = static_cast<const std::byte*>(from);
    auto* target = static_cast<std::byte*>(to);
    for (std::int64_t row = 0; row < rows_; ++row, source += row_stride_, target += row_stride_) {
      std::memcpy(target, source, row_bytes_);
    }
  }
  static void check(dnnl_status_t status) {
    require(status == dnnl_success, "oneDNN matmul failed with status {}",
            static_cast<int>(status));
  }
  static void set(const memory& m, const void* data) {
    check(dnnl_memory_set_data_handle(m.get(), const_cast<void*>(data)));
  }

  std::int64_t rows_;
  std::size_t row_bytes_, row_stride_, scratch_bytes_;
  bool addend_, bias_;
  dnnl::matmul primitive_;
  dnnl::stream stream_;
  memory a_, b_, result_, scratch_, bias_memory_;
};

}  // namespace

std::unique_ptr<const Product> make_onednn_product(const ProductSpec& spec) {
  if (spec.a != spec.b || spec.m * spec.n * spec.k == 0) return nullptr;
  try {
    const auto description = describe(spec);
    if (std::strncmp(description.impl_info_str(), "ref", 3) == 0) return nullptr;
    return std::make_unique<const OneDnnProduct>(spec, description);
  } catch (const dnnl::error&) {
    return nullptr;  // no implementation for these dtypes on this machine
  }
}

}  // namespace bessemer::kernels::cpu
