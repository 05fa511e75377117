// The angles of rotary position embedding: Su et al., "RoFormer", 2021; the scalings are those of
// Hugging Face transformers (modeling_rope_utils.py), so that its checkpoints mean the same here.
#pragma once

#include <cstdint>
#include <vector>

#include "base/attributes.h"

namespace bessemer::kernels {

struct RopeFrequencies {
  std::vector<double> inverse;  // D/2: pair i turns by inverse[i] radians a position
  double attention_factor = 1;  // multiplies cos and sin, in the rotation and in its gradient
};

/// From the attributes of a `rope` node and its head size D:
///
///   theta              base; default 10000. Pair i has theta^(-2i/D)
///   scaling            "none" (default)
///                      "linear": all frequencies divided by `factor` (Chen et al., 2023)
///                      "llama3": wavelengths longer than original_context / low_frequency_factor
///                        divided by `factor`, those shorter than original_context /
///                        high_frequency_factor kept, between them a blend
///                      "yarn" (Peng et al., 2023): pairs that turn more than `beta_fast` (32)
///                      times
///                        in original_context kept, less than `beta_slow` (1) times divided by
///                        `factor`, between them a linear ramp over whole pairs;
///                        `attention_factor` defaults to 0.1 ln(factor) + 1 (1 for factor <= 1)
///
/// InputError where D is odd or a value is missing or out of range; it names the attribute.
RopeFrequencies rope_frequencies(std::int64_t head_size, const Attributes& attributes);

}  // namespace bessemer::kernels
