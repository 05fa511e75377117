// Attention through cuDNN in programs that are built without its headers, as without CUDA.
#include "kernels/cuda/cudnn_attention.h"

namespace bessemer::kernels::cuda {
namespace {
constexpr const char* kWithout = "this program was built without cuDNN's headers";
}

Prepared cudnn_attention(const KernelRequest&) { return Declined{kWithout}; }
Prepared cudnn_attention_grad(const KernelRequest&) { return Declined{kWithout}; }

}  // namespace bessemer::kernels::cuda
