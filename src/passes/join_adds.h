// join_adds: small sums into gradients are one node, where a launch costs: on a CUDA device, a
// later micro-batch of GPT-2 124M adds 122 gradients of vectors (biases, gains of norms) to those
// of the micro-batches before it, which no kernel takes as its addend.
//
//     %b2 = add(%b, %db)                  %b2, %g2 = add_all(%b, %db, %g, %dg)
//     ...                          ->
//     %g2 = add(%g, %dg)
//
// Joined are adds of one type, in fp32, to a persistent tensor on the device, whose sum no node
// reads; the joined node stands where the last of them stood. What is added waits for it, so a node
// takes no more than 1 MiB (kMostWaiting); matrices, whose sums are worth a launch, are above that.
// The last micro-batch, where it takes the norm (early_norm) or updates (speculate_update), reads
// the sums one by one: those stay.
//
// Must run after offload, which decides where tensors lie. It moves nodes, which is right even
// then: nothing reads their results. Same bits.
#pragma once

#include "ir/graph.h"

namespace bessemer::passes {

ir::Graph join_adds(ir::Graph graph);

}  // namespace bessemer::passes
