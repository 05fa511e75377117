// What passes/offload makes of graphs: text in, text out.
#include "passes/offload.h"

#include <gtest/gtest.h>

#include "ir/text.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::Tier;

cost::MachineDescription machine_of(double host_bandwidth) {
  cost::MachineDescription machine;
  machine.copy_bandwidth = 1e9;
  machine.instruction_overhead = 0;
  machine.host_bandwidth = host_bandwidth;
  return machine;
}

std::string offloaded(const std::string& text, const TierMap& tiers, OffloadOptions options,
                      double host_bandwidth = 1e9) {
  const ir::Graph graph = offload(ir::parse(text), tiers, options, machine_of(host_bandwidth));
  ops::verify(graph);
  return ir::print(graph);
}

TEST(Offload, AdamWRunsWhereItsStateLies) {
  const std::string inputs = R"(gradient %g: fp32[8] "gradient.w"
data %rate: fp32[] "rate"
data %step: int64[] "step"
data %c: fp32[] "c"
)";
  const std::string attributes = "{beta1=0.9, beta2=0.95, epsilon=1e-08, weight_decay=0.0}\n";
  EXPECT_EQ(offloaded("graph update\nparameter %w: fp32[8] \"w\"\noptimizer %m: fp32[8] \"m\"\n"
                      "optimizer %v: fp32[8] \"v\"\n" +
                          inputs +
                          "%w2: fp32[8], %m2: fp32[8], %v2: fp32[8] = adamw_update(%w, %g, %m, %v, "
                          "%rate, %step, %c) " +
                          attributes + "write \"w\" %w2\nwrite \"m\" %m2\nwrite \"v\" %v2\n",
                      {{"m", Tier::host}, {"v", Tier::host}}, {}),
            "graph update\nparameter %w: fp32[8] \"w\"\noptimizer %m: fp32[8] @host \"m\"\n"
            "optimizer %v: fp32[8] @host \"v\"\n" +
                inputs +
                "%store: fp32[8] @host = store(%w)\n%store_1: fp32[8] @host = store(%g)\n"
                "%adamw_update: fp32[8] @host, %adamw_update_1: fp32[8] @host, %adamw_update_2: "
                "fp32[8] @host = adamw_update(%store, %store_1, %m, %v, %rate, %step, %c) " +
                attributes +
                "%fetch: fp32[8] = fetch(%adamw_update)\nwrite \"w\" %fetch\n"
                "write \"m\" %adamw_update_1\nwrite \"v\" %adamw_update_2\n");
}

TEST(Offload, AParameterIsFetchedAgainWhereThePauseIsLong) {
  const std::string text = R"(graph g
parameter %w: fp32[8] "w"
data %x: fp32[8] "x"
%a: fp32[8] = add(%x, %w)
%b: fp32[8] = silu(%a)
%c: fp32[8] = silu(%b)
%y: fp32[8] = add(%c, %w)
return "y" %y
)";
  const auto fetches = [](const std::string& printed) {
    int count = 0;
    for (std::size_t at = 0; (at = printed.find("= fetch(%w)", at)) != std::string::npos; ++at) {
      ++count;
    }
    return count;
  };
  EXPECT_EQ(fetches(offloaded(text, {{"w", Tier::host}}, {}, 1e10)), 2);
  EXPECT_EQ(fetches(offloaded(text, {{"w", Tier::host}}, {}, 1e6)), 1);
}

TEST(Offload, AFetchStandsAsFarAheadAsItsLinkNeeds) {
  const std::string text = R"(graph g
parameter %w: fp32[8] "w"
data %x: fp32[8] "x"
%a: fp32[8] = silu(%x)
%b: fp32[8] = silu(%a)
%c: fp32[8] = silu(%b)
%y: fp32[8] = add(%c, %w)
return "y" %y
)";
  const auto order = [&](double bandwidth, std::size_t ahead) {
    OffloadOptions options;
    options.fetched_ahead = ahead;
    const ir::Graph graph =
        offload(ir::parse(text), {{"w", Tier::host}}, options, machine_of(bandwidth));
    std::string ops;
    for (const ir::Node& node : graph.nodes()) ops += node.op + " ";
    return ops;
  };
  // A silu moves 64 bytes, at 1 GB/s; the fetch moves 32.
  EXPECT_EQ(order(1e9, 1 << 20), "silu silu fetch silu add ");
  EXPECT_EQ(order(32 / 100e-9, 1 << 20), "silu fetch silu silu add ");
  EXPECT_EQ(order(1e6, 1 << 20), "fetch silu silu silu add ");
}

TEST(Offload, FetchesAheadAreBounded) {
  const std::string text = R"(graph g
parameter %u: fp32[8] "u"
parameter %v: fp32[8] "v"
parameter %w: fp32[8] "w"
data %x: fp32[8] "x"
%a: fp32[8] = add(%x, %u)
%b: fp32[8] = add(%a, %v)
%c: fp32[8] = add(%b, %w)
return "c" %c
)";
  const auto order = [&](std::size_t ahead) {
    OffloadOptions options;
    options.fetched_ahead = ahead;
    const TierMap tiers{{"u", Tier::host}, {"v", Tier::host}, {"w", Tier::host}};
    const ir::Graph graph = offload(ir::parse(text), tiers, options, machine_of(1e3));
    std::string ops;
    for (const ir::Node& node : graph.nodes()) ops += node.op + " ";
    return ops;
  };
  EXPECT_EQ(order(96), "fetch fetch fetch add add add ");
  EXPECT_EQ(order(64), "fetch fetch add fetch add add ");
  EXPECT_EQ(order(32), "fetch add fetch add fetch add ");
  EXPECT_EQ(order(0), "fetch add fetch add fetch add ");
}

TEST(ChooseTiers, FollowsClassesAndExceptions) {
  const ir::Graph refresh = ir::parse(R"(graph refresh
parameter %w: fp32[64] "w"
weight %c: bf16[64] "weight.w.bf16"
%d: bf16[64] = cast(%w) {dtype="bf16"}
write "weight.w.bf16" %d
)");
  const ir::Graph step = ir::parse(R"(graph step
weight %c: bf16[64] "weight.w.bf16"
parameter %n: fp32[64] "n"
parameter %small: fp32[4] "small"
gradient %g: fp32[64] "gradient.w"
optimizer %m: fp32[64] "m.w"
optimizer %k: fp32[64] "m.kept"
optimizer %s: int64[] "step"
)");
  OffloadOptions options;
  options.optimizer = Tier::file;
  options.gradients = Tier::host;
  options.parameters = Tier::host;
  options.smallest = 32;
  options.stays = [](std::string_view name) { return name == "m.kept"; };
  const std::vector<const ir::Graph*> graphs{&refresh, &step};
  EXPECT_EQ(choose_tiers(graphs, options), (TierMap{{"w", Tier::file},
                                                    {"weight.w.bf16", Tier::host},
                                                    {"n", Tier::host},
                                                    {"gradient.w", Tier::host},
                                                    {"m.w", Tier::file}}));
}

}  // namespace
}  // namespace bessemer::passes
