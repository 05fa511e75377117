// Persistent tensors that change places between programs.
#include <gtest/gtest.h>

#include "base/error.h"
#include "ir/text.h"
#include "runtime/executor.h"

namespace bessemer::testing {
namespace {

// One more than "p" into "next.p", which lie in `tier`.
std::string graph_in(ir::Tier tier) {
  const std::string head = R"(graph g
data %x: fp32[8] "x"
)";
  if (tier == ir::Tier::device) {
    return head + R"(parameter %p: fp32[8] "p"
parameter %q: fp32[8] "next.p"
%y: fp32[8] = add(%p, %x)
return "y" %y
write "next.p" %y
)";
  }
  const std::string at = "fp32[8] @" + std::string(name_of(tier));
  return head + "parameter %p: " + at + " \"p\"\nparameter %q: " + at + " \"next.p\"\n" +
         "%here: fp32[8] = fetch(%p)\n%y: fp32[8] = add(%here, %x)\n%s: " + at +
         " = store(%y)\nreturn \"y\" %y\nwrite \"next.p\" %s\n";
}

class Exchange : public ::testing::TestWithParam<ir::Tier> {};

TEST_P(Exchange, NamesMeanTheOtherPlace) {
  const ir::Graph graph = ir::parse(graph_in(GetParam()));
  plan::PlanOptions options;
  options.exchanges = {{"p", "next.p"}};
  const plan::Plan plan = plan::make_plan({&graph}, cost::describe_here(), options);
  runtime::ExecutorOptions where;
  where.file_directory = std::filesystem::temp_directory_path();
  const runtime::Executor executor(plan, where);
  for (int i = 0; i < 8; ++i) executor.data("g", "x").as<float>()[i] = 1;
  const auto value = [&](const char* name) {
    std::vector<float> values(8);
    executor.read(name, std::as_writable_bytes(std::span(values)));
    for (const float v : values) EXPECT_EQ(v, values[0]);
    return values[0];
  };
  for (int run = 1; run <= 5; ++run) {
    executor.run("g");
    EXPECT_EQ(value("p"), run - 1);
    EXPECT_EQ(value("next.p"), run);
    EXPECT_EQ(executor.result("g", "y").as<float>()[7], run);
    executor.exchange();
    EXPECT_EQ(value("p"), run);
    EXPECT_EQ(value("next.p"), run - 1);
  }
  const std::vector<float> set(8, 40);
  executor.write("p", std::as_bytes(std::span(set)));
  executor.run("g");
  EXPECT_EQ(value("next.p"), 41);
}

INSTANTIATE_TEST_SUITE_P(Tiers, Exchange,
                         ::testing::Values(ir::Tier::device, ir::Tier::host, ir::Tier::file),
                         [](const auto& test) { return std::string(name_of(test.param)); });

TEST(ExchangePlan, RefusesWhatCannotChangePlaces) {
  const ir::Graph graph = ir::parse(R"(graph g
parameter %p: fp32[8] "p"
parameter %q: fp32[4] "q"
parameter %r: fp32[8] "r"
parameter %s: fp32[8] "s"
%y: fp32[8] = silu(%p)
return "y" %y
)");
  const auto plan = [&](std::vector<std::pair<std::string, std::string>> exchanges) {
    plan::PlanOptions options;
    options.exchanges = std::move(exchanges);
    return plan::make_plan({&graph}, cost::describe_here(), options);
  };
  EXPECT_EQ(plan({{"p", "r"}}).exchanges.size(), 1u);
  EXPECT_THROW(plan({{"p", "q"}}), Error);              // another type
  EXPECT_THROW(plan({{"p", "nothing"}}), Error);        // no such tensor
  EXPECT_THROW(plan({{"p", "r"}, {"s", "r"}}), Error);  // twice
}

}  // namespace
}  // namespace bessemer::testing
