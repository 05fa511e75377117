// Ops whose results `quantize_fp8` can make itself, by a program.
#pragma once

#include <string>

#include "ir/graph.h"

namespace bessemer::ops {

/// The program that makes what `node` makes, of the same operands; empty where there is none. That
/// of a norm stands for its first result, and takes its statistics, [..., 1] each, behind x.
std::string quantize_program(const ir::Node& node);

}  // namespace bessemer::ops
