#include "plan/storage.h"

#include <gtest/gtest.h>

#include "base/arena.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "plan/plan.h"
#include "support/random_graph.h"
#include "support/model_inputs.h"

namespace bessemer::plan {
namespace {

// Where each named value lies: "a" in the home of tensor a, "data x" with the data, "#2" in a
// transient buffer of that number.
std::string places(const std::string& text, const std::vector<std::string>& names) {
  const ir::Graph graph = ir::parse(text);
  const Storage storage = assign_storage(graph);
  std::string all;
  for (const std::string& name : names) {
    for (std::size_t v = 0; v < graph.values().size(); ++v) {
      if (graph.values()[v].name != name) continue;
      const int id = storage.buffer_of[v];
      const Buffer& buffer = storage.buffers[static_cast<std::size_t>(id)];
      std::string place = buffer.name;
      if (buffer.home == Home::data) place = "data " + buffer.name;
      if (buffer.home == Home::transient) place = "#" + std::to_string(id);
      all += (all.empty() ? "" : ", ") + name + ":" + place;
    }
  }
  for (const FinalCopy& copy : storage.copies) all += ", copy " + copy.name;
  return all;
}

const std::string kHead =
    "graph g\nparameter %a: fp32[4] \"a\"\nparameter %b: fp32[4] \"b\"\n"
    "data %x: fp32[4] \"x\"\n";

struct Case {
  const char* name;
  const char* body;
  std::vector<std::string> values;
  const char* expected;
};

class Places : public ::testing::TestWithParam<Case> {};

TEST_P(Places, AreAsExpected) {
  EXPECT_EQ(places(kHead + GetParam().body, GetParam().values), GetParam().expected);
}

// Inputs have buffers 0 to 2.
INSTANTIATE_TEST_SUITE_P(
    Rules, Places,
    ::testing::Values(
        Case{"in_place_at_the_last_use",
             "%s: fp32[4] = add(%a, %x)\n%t: fp32[4] = silu(%s)\nreturn \"t\" %t\n",
             {"a", "x", "s", "t"},
             "a:a, x:data x, s:#3, t:#3"},
        Case{"not_in_place_while_needed",
             "%s: fp32[4] = add(%a, %x)\n%t: fp32[4] = silu(%s)\n%u: fp32[4] = add(%t, %s)\n"
             "return \"u\" %u\n",
             {"s", "t", "u"},
             "s:#3, t:#4, u:#4"},
        Case{"not_in_place_of_a_parameter",
             "%s: fp32[4] = silu(%a)\nreturn \"s\" %s\n",
             {"s"},
             "s:#3"},
        Case{"not_in_place_of_a_result",
             "%s: fp32[4] = add(%a, %x)\n%t: fp32[4] = silu(%s)\nreturn \"s\" %s\n"
             "return \"t\" %t\n",
             {"s", "t"},
             "s:#3, t:#4"},
        Case{"not_in_place_of_an_operand_used_twice",
             "%s: fp32[4] = add(%a, %x)\n%t: fp32[4] = multiply(%s, %s)\nreturn \"t\" %t\n",
             {"s", "t"},
             "s:#3, t:#4"},
        Case{"not_in_place_of_another_size",
             "%s: fp32[2] = slice(%a) {begin=0, dim=0, end=2}\n"
             "%w: fp32[2,2] = reshape(%a) {shape=[2,2]}\n%t: fp32[2,2] = add(%w, %s)\n"
             "return \"t\" %t\n",
             {"s", "t"},
             "s:#3, t:#4"},
        Case{"a_view_shares_and_keeps_alive",
             "%s: fp32[4] = add(%a, %x)\n%v: fp32[2,2] = reshape(%s) {shape=[2,2]}\n"
             "%t: fp32[4] = silu(%s)\n%u: fp32[2,2] = silu(%v)\nreturn \"t\" %t\nreturn \"u\" %u\n",
             {"s", "v", "t", "u"},
             "s:#3, v:#3, t:#4, u:#3"},
        Case{"a_write_is_computed_in_its_home",
             "%s: fp32[4] = add(%a, %x)\n%t: fp32[4] = add(%s, %b)\nwrite \"a\" %t\n",
             {"s", "t"},
             "s:a, t:a"},
        Case{"what_a_write_is_computed_in_place_of_is_in_its_home_too",
             "%s: fp32[4] = silu(%x)\n%t: fp32[4] = scale(%s) {factor=0.5}\n"
             "%u: fp32[4] = add(%t, %b)\nwrite \"a\" %u\n",
             {"s", "t", "u"},
             "s:a, t:a, u:a"},
        Case{"but_not_before_the_old_content_has_been_read",
             "%s: fp32[4] = silu(%x)\n%t: fp32[4] = add(%s, %b)\n"
             "%v: fp32[4] = multiply(%a, %a)\n%u: fp32[4] = scale(%t) {factor=0.5}\n"
             "write \"a\" %u\nreturn \"v\" %v\n",
             {"s", "t", "v", "u"},
             "s:#3, t:#3, v:#4, u:a"},
        Case{"nor_what_is_needed_for_something_else",
             "%s: fp32[4] = silu(%x)\n%t: fp32[4] = scale(%s) {factor=0.5}\nwrite \"a\" %t\n"
             "return \"s\" %s\n",
             {"s", "t"},
             "s:#3, t:a"},
        Case{"a_write_in_place_of_the_old_content",
             "%s: fp32[4] = add(%a, %x)\nwrite \"a\" %s\n",
             {"s"},
             "s:a"},
        Case{"a_write_not_over_an_operand_the_op_reads_on",
             "%s: fp32[4] = multiply(%a, %a)\nwrite \"a\" %s\n",
             {"s"},
             "s:#3, copy a"},
        Case{"a_write_while_the_old_content_is_needed",
             "%s: fp32[4] = add(%x, %b)\n%t: fp32[4] = add(%a, %s)\nwrite \"a\" %s\n"
             "return \"t\" %t\n",
             {"s", "t"},
             "s:#3, t:#4, copy a"},
        Case{"the_second_home_of_a_value_is_a_copy",
             "%s: fp32[4] = add(%a, %b)\nwrite \"a\" %s\nwrite \"b\" %s\n",
             {"s"},
             "s:a, copy b"},
        Case{"an_exchange_sets_both_aside",
             "write \"a\" %b\nwrite \"b\" %a\n",
             {"a", "b"},
             "a:a, b:b, copy b, copy a, copy a, copy b"}),
    [](const auto& test) { return test.param.name; });

void expect_whole_ledger(const Plan& plan, const std::string& what) {
  std::size_t sum = 0;
  for (const LedgerEntry& entry : ledger(plan)) {
    EXPECT_GT(entry.bytes, 0u) << what << ": " << entry.name;
    EXPECT_FALSE(entry.name.empty()) << what;
    sum += entry.bytes;
  }
  EXPECT_EQ(sum, plan.arena_bytes) << what;
}

// No two buffers of a program that live at one time share bytes, and none leaves the arena.
void expect_disjoint(const Plan& plan, const std::string& what) {
  for (const Program& program : plan.programs) {
    for (std::size_t i = 0; i < program.transients.size(); ++i) {
      const TransientBuffer& a = program.transients[i];
      EXPECT_GE(a.offset, plan.persistent_bytes + plan.data_bytes) << what;
      EXPECT_LE(a.offset + a.bytes, plan.arena_bytes) << what;
      for (std::size_t j = 0; j < i; ++j) {
        const TransientBuffer& b = program.transients[j];
        const bool in_time = a.first <= b.last && b.first <= a.last;
        const bool in_space = a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
        EXPECT_FALSE(in_time && in_space)
            << what << ", " << program.name << ": " << a.name << " and " << b.name;
      }
    }
  }
}

TEST(Plan, OfRandomGraphsHasAWholeLedger) {
  for (std::uint64_t seed = 0; seed < 200 && !::testing::Test::HasFailure(); ++seed) {
    const ir::Graph graph = bessemer::testing::RandomGraph(seed).make();
    const Plan plan = make_plan({&graph}, cost::describe_here());
    expect_whole_ledger(plan, ir::print(graph));
    expect_disjoint(plan, ir::print(graph));
  }
}

TEST(Plan, OfTrainingStepsHasAWholeLedger) {
  for (const models::Architecture& model :
       {bessemer::testing::tiny_gpt2(), bessemer::testing::tiny_llama()}) {
    for (const passes::Recipe recipe : {passes::Recipe::fp32, passes::Recipe::bf16}) {
      passes::StepOptions options;
      options.precision = recipe;
      options.accumulates = true;
      passes::Runner runner;
      const passes::StepGraphs step =
          passes::compile_step(models::loss_graph(model, {2, 6}), std::nullopt, options, runner);
      const Plan plan = make_plan({&step.accumulate_first, &*step.accumulate, &step.update},
                                  cost::describe_here());
      expect_whole_ledger(plan, "training step");
      expect_disjoint(plan, "training step");
      for (const Program& program : plan.programs) {
        EXPECT_LE(program.transient_bytes, program.live_peak_bytes * 102 / 100) << program.name;
      }
      std::size_t parameters = 0, gradients = 0, optimizer = 0;
      for (const LedgerEntry& entry : ledger(plan)) {
        if (entry.category == "parameters") parameters += entry.bytes;
        if (entry.category == "gradients") gradients += entry.bytes;
        if (entry.category == "optimizer") optimizer += entry.bytes;
      }
      EXPECT_EQ(gradients, parameters + Arena::kAlignment);      // and the step's loss
      EXPECT_EQ(optimizer, 2 * parameters + Arena::kAlignment);  // m, v and the step count
    }
  }
}

TEST(Plan, PersistentTensorsAndDataAreSharedByName) {
  const ir::Graph one = ir::parse(kHead + "%y: fp32[4] = add(%a, %x)\nwrite \"a\" %y\n");
  ir::Graph two = ir::parse(kHead + "%y: fp32[4] = add(%b, %x)\nreturn \"y\" %y\n");
  two.set_name("h");
  const Plan plan = make_plan({&one, &two}, cost::describe_here());
  EXPECT_EQ(plan.catalog.size(), 2u);
  EXPECT_EQ(plan.persistent_bytes, 2 * Arena::kAlignment);
  EXPECT_EQ((plan.persistent_bytes + plan.data_bytes) % kFileAlignment, 0u);
  EXPECT_LT(plan.data_bytes, 2 * kFileAlignment);
  EXPECT_EQ(plan.program("g").data.at(0).offset, plan.program("h").data.at(0).offset);
}

TEST(Plan, RefusesOneNameWithTwoTypes) {
  const ir::Graph one = ir::parse(kHead + "%y: fp32[4] = add(%a, %x)\nwrite \"a\" %y\n");
  ir::Graph two =
      ir::parse("graph h\nparameter %a: fp32[8] \"a\"\n%y: fp32[8] = silu(%a)\nreturn \"y\" %y\n");
  try {
    make_plan({&one, &two}, cost::describe_here());
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "a is fp32[4] in one graph and fp32[8] in graph h");
  }
}

}  // namespace
}  // namespace bessemer::plan
