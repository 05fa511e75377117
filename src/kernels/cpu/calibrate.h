// What this machine reaches: the ceilings that MFU and predicted times are held against. Each takes
// about a second, uses all threads, and needs the machine to itself to mean anything.
#pragma once

#include "base/dtype.h"

namespace bessemer::kernels::cpu {

/// Floating-point operations per second (a multiply-add counts two) of the fastest matrix product:
/// the better of a large square problem and of one that suits the caches, in the fastest tenth of
/// the runs. fp32 or bf16; Error for another dtype.
double measure_matmul_peak(DType dtype);

/// The same of the products of a transformer layer, forward and both gradients, as they run in a
/// step: what predicted times are made of. At most measure_matmul_peak, as a rule.
double measure_layer_rate(DType dtype);

/// Floating-point operations per second of the products of causal attention and its gradient (seven
/// for each pair that is visible), with all that attention does beside them in the time.
double measure_attention_rate(DType dtype);

/// Bytes read plus bytes written per second by a copy far larger than the caches.
double measure_copy_bandwidth();

/// Bytes that one more thread copies per second while all threads compute: the link between device
/// and host on this backend.
double measure_link_bandwidth();

}  // namespace bessemer::kernels::cpu
