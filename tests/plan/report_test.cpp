#include "plan/report.h"

#include <numeric>
#include <set>

#include <gtest/gtest.h>

namespace bessemer::plan {
namespace {

Instruction instruction(std::string op, std::string kernel, double flops, double seconds) {
  Instruction i;
  i.op = std::move(op);
  i.kernel = std::move(kernel);
  i.label = "layers.0";
  i.work.flops = flops;
  i.work.bytes_read = 3e9;
  i.work.bytes_written = 1e9;
  i.seconds = seconds;
  return i;
}

Program program(std::string name, std::vector<Instruction> instructions) {
  Program p;
  p.name = std::move(name);
  p.instructions = std::move(instructions);
  return p;
}

// 4096 bytes of a parameter, 1024 of a gradient, a stash of 2048 and a gap of 64.
Plan small_plan() {
  Plan plan;
  plan.machine.name = "test machine";
  plan.catalog = {{"w", ir::Role::parameter, {DType::fp32, {1024}}, 0},
                  {"gradient.w", ir::Role::gradient, {DType::fp32, {256}}, 4096}};
  plan.programs = {program("refresh_rest", {instruction("cast", "cpu.cast", 0, 0.25)}),
                   program("accumulate_first", {instruction("matmul", "onednn.matmul", 2e9, 1)}),
                   program("accumulate", {instruction("add", "cpu.add", 1e9, 0.5),
                                          instruction("matmul", "onednn.matmul", 2e9, 1),
                                          instruction("matmul", "reference", 2e9, 2)}),
                   program("update", {instruction("adamw_update", "cpu.adamw", 0, 0.25)})};
  Program& largest = plan.programs[2];
  largest.transients = {{"h0", TransientBuffer::Kind::stash, 2048, 5120, 0, 2},
                        {"dead_at_the_peak", TransientBuffer::Kind::transient, 64, 7168, 2, 2}};
  largest.transient_bytes = 2112;
  largest.live_peak_bytes = 2048;
  largest.live_peak_at = 1;
  plan.persistent_bytes = 5120;
  plan.arena_bytes = 5120 + 2112;
  return plan;
}

TEST(Report, BytesHaveThreeDigitsAndAUnit) {
  const std::pair<std::size_t, const char*> cases[] = {{0, "0 B"},
                                                       {1023, "1023 B"},
                                                       {1024, "1.00 KiB"},
                                                       {12 * 1024, "12.0 KiB"},
                                                       {std::size_t{999} << 10, "999 KiB"},
                                                       {std::size_t{1000} << 10, "0.98 MiB"},
                                                       {std::size_t{3} << 29, "1.50 GiB"}};
  for (const auto& [bytes, text] : cases) EXPECT_EQ(bytes_text(bytes), text);
}

TEST(Report, AStepIsItsProgramsAsOftenAsTheyRun) {
  Plan plan = small_plan();
  EXPECT_DOUBLE_EQ(predicted_step_seconds(plan, 1), 1 + 0.25 + 0.25);
  EXPECT_DOUBLE_EQ(predicted_step_seconds(plan, 3), 1 + 2 * 3.5 + 0.25 + 0.25);
  plan.programs.erase(plan.programs.begin() + 1);
  EXPECT_EQ(predicted_step_seconds(plan, 1), 0) << "a plan that does not train has no step";
}

TEST(Report, JsonLedgerSumsToThePeak) {
  const Plan plan = small_plan();
  const nlohmann::json json = to_json(plan, {"", 2, 100});
  std::size_t sum = 0;
  std::set<std::string> categories;
  for (const auto& entry : json["ledger"]) {
    EXPECT_EQ(entry["tier"], "device");
    sum += entry["bytes"].get<std::size_t>();
    categories.insert(entry["category"]);
  }
  EXPECT_EQ(sum, plan.arena_bytes);
  EXPECT_EQ(json["peak_bytes"]["device"], plan.arena_bytes);
  EXPECT_EQ(categories, (std::set<std::string>{"parameters", "gradients", "stash", "unused"}));
  EXPECT_DOUBLE_EQ(json["step_seconds"].get<double>(), 5.0);
  EXPECT_DOUBLE_EQ(json["tokens_per_second"].get<double>(), 20.0);
  EXPECT_EQ(json["programs"].size(), 4u);
  EXPECT_EQ(json["programs"][2]["instructions"][1]["kernel"], "onednn.matmul");
  EXPECT_EQ(json["programs"][2]["bytes"], 12e9);
}

TEST(Report, WhatIsOutsideTheArenaIsListedAndAdded) {
  using How = OutsideEntry::How;
  ReportOptions options;
  options.outside = {{"batches", 1024, How::computed}, {"program", 2048, How::measured}};
  const Plan plan = small_plan();
  const nlohmann::json json = to_json(plan, options);
  EXPECT_EQ(json["process_bytes"], plan.arena_bytes + 3072);
  ASSERT_EQ(json["outside"].size(), 2u);
  EXPECT_EQ(json["outside"][1]["name"], "program");
  EXPECT_EQ(json["outside"][1]["bytes"], 2048);
  EXPECT_EQ(json["outside"][1]["how"], "measured");
  const std::string text = describe(plan, options);
  EXPECT_NE(text.find("batches"), std::string::npos) << text;
  EXPECT_NE(text.find("process, with its arenas"), std::string::npos) << text;
}

TEST(Report, JsonHasNoRateWithoutTokens) {
  EXPECT_TRUE(to_json(small_plan(), {})["tokens_per_second"].is_null());
}

bool has_line(const std::string& text, const std::string& wanted) {
  return ("\n" + text).find("\n" + wanted + "\n") != std::string::npos;
}

TEST(Report, TextNamesWhatItPredicts) {
  ReportOptions options{"run first", 2, 100};
  options.largest = 1;
  const std::string text = describe(small_plan(), options);
  EXPECT_TRUE(text.starts_with("run first\nmachine  test machine\n")) << text;
  EXPECT_NE(text.find("assumed"), std::string::npos) << text;
  EXPECT_TRUE(has_line(text, "  parameters  4.00 KiB   56.6%        1")) << text;
  EXPECT_TRUE(has_line(text, "  arena       7.06 KiB  100.0%        4")) << text;
  EXPECT_TRUE(has_line(text, "  w     parameters  4.00 KiB")) << text;
  EXPECT_EQ(text.find("gradient.w"), std::string::npos) << "only the largest entry is listed";
  EXPECT_TRUE(
      has_line(text, "  matmul  onednn.matmul reference      2   4.00     8.000  3000.0 ms  85.7%"))
      << text;
  EXPECT_TRUE(has_line(text, "predicted step: 5.00 s (2 micro-batches), 100 tokens, 20 tok/s"))
      << text;
}

TEST(Report, MeasuredRatesAreCalledSo) {
  Plan plan = small_plan();
  plan.machine.measured = true;
  const std::string text = describe(plan, {});
  EXPECT_NE(text.find("measured here"), std::string::npos);
  EXPECT_EQ(text.find("assumed"), std::string::npos);
}

}  // namespace
}  // namespace bessemer::plan
