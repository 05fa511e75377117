// join_updates: AdamW of many parameters is one node, where a launch costs: on a CUDA device, a
// step of GPT-2 124M updates 148 tensors.
//
// Joined are adamw_update nodes that read and write persistent tensors on the device and differ in
// the tensors alone, whose parameters have one dtype; the joined node stands where the last of them
// stood. Those of state that lies in lower tiers, and those of a speculative update, which follow
// the gradients one by one, stay.
//
// Must run after offload, which decides where tensors lie and cuts updates into tiles. It moves
// nodes, which is right even then: nothing reads their results. Same bits.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

ir::Graph join_updates(ir::Graph graph);

}  // namespace bessemer::passes
