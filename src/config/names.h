// The names that the enumerations of a run file have in it.
#pragma once

#include <string_view>

#include "config/run_config.h"

namespace bessemer::config {

template <typename Enum>
struct Named {
  Enum value;
  std::string_view name;
};

inline constexpr Named<Architecture> kArchitectures[] = {{Architecture::gpt2, "gpt2"},
                                                         {Architecture::llama, "llama"}};
inline constexpr Named<RopeScalingType> kRopeScalings[] = {{RopeScalingType::none, "none"},
                                                           {RopeScalingType::linear, "linear"},
                                                           {RopeScalingType::llama3, "llama3"},
                                                           {RopeScalingType::yarn, "yarn"}};
inline constexpr Named<OptimizerKind> kOptimizers[] = {{OptimizerKind::adamw, "adamw"}};
inline constexpr Named<UpdateMode> kUpdateModes[] = {{UpdateMode::synchronous, "synchronous"},
                                                     {UpdateMode::delayed, "delayed"},
                                                     {UpdateMode::speculative, "speculative"}};
inline constexpr Named<Schedule> kSchedules[] = {{Schedule::constant, "constant"},
                                                 {Schedule::linear, "linear"},
                                                 {Schedule::cosine, "cosine"},
                                                 {Schedule::wsd, "wsd"}};
inline constexpr Named<Recipe> kRecipes[] = {
    {Recipe::fp32, "fp32"}, {Recipe::tf32, "tf32"}, {Recipe::bf16, "bf16"}, {Recipe::fp8, "fp8"}};
inline constexpr Named<Fp8Scaling> kFp8Scalings[] = {{Fp8Scaling::current, "current"},
                                                     {Fp8Scaling::delayed, "delayed"},
                                                     {Fp8Scaling::block, "block"}};
inline constexpr Named<Parameters> kParameterTypes[] = {{Parameters::fp32, "fp32"},
                                                        {Parameters::bf16, "bf16"}};
inline constexpr Named<Stash> kStashes[] = {{Stash::same, "same"}, {Stash::int8, "int8"}};
inline constexpr Named<MemoryPolicy> kMemoryPolicies[] = {{MemoryPolicy::automatic, "auto"},
                                                          {MemoryPolicy::resident, "resident"}};
inline constexpr Named<Recompute> kRecomputes[] = {{Recompute::none, "none"},
                                                   {Recompute::full, "full"},
                                                   {Recompute::selective, "selective"},
                                                   {Recompute::automatic, "auto"}};
inline constexpr Named<TensorClass> kTensorClasses[] = {{TensorClass::optimizer, "optimizer"},
                                                        {TensorClass::gradients, "gradients"},
                                                        {TensorClass::parameters, "parameters"},
                                                        {TensorClass::activations, "activations"}};
inline constexpr Named<OffloadTier> kOffloadTiers[] = {
    {OffloadTier::automatic, ""}, {OffloadTier::host, "host"}, {OffloadTier::file, "file"}};
inline constexpr Named<Packing> kPackings[] = {{Packing::best_fit, "best_fit"},
                                               {Packing::concatenate, "concatenate"}};
inline constexpr Named<Workers> kWorkers[] = {{Workers::threads, "threads"},
                                              {Workers::processes, "processes"}};
inline constexpr Named<Balance> kBalances[] = {{Balance::round_robin, "round_robin"},
                                               {Balance::greedy, "greedy"},
                                               {Balance::karmarkar_karp, "karmarkar_karp"}};
inline constexpr Named<OnBadRecord> kOnBadRecords[] = {{OnBadRecord::stop, "stop"},
                                                       {OnBadRecord::skip, "skip"}};
inline constexpr Named<SourceFormat> kSourceFormats[] = {{SourceFormat::automatic, "auto"},
                                                         {SourceFormat::text, "text"},
                                                         {SourceFormat::messages, "messages"}};
inline constexpr Named<Tokenize> kTokenizations[] = {{Tokenize::ahead, "ahead"},
                                                     {Tokenize::on_the_fly, "on_the_fly"}};
inline constexpr Named<log::Level> kLevels[] = {{log::Level::debug, "debug"},
                                                {log::Level::info, "info"},
                                                {log::Level::warn, "warn"},
                                                {log::Level::error, "error"},
                                                {log::Level::off, "off"}};

template <typename Enum, std::size_t N>
constexpr std::string_view name_in(const Named<Enum> (&names)[N], Enum value) {
  for (const auto& named : names)
    if (named.value == value) return named.name;
  return "?";
}

constexpr std::string_view name_of(Architecture v) { return name_in(kArchitectures, v); }
constexpr std::string_view name_of(RopeScalingType v) { return name_in(kRopeScalings, v); }
constexpr std::string_view name_of(OptimizerKind v) { return name_in(kOptimizers, v); }
constexpr std::string_view name_of(UpdateMode v) { return name_in(kUpdateModes, v); }
constexpr std::string_view name_of(Schedule v) { return name_in(kSchedules, v); }
constexpr std::string_view name_of(Packing v) { return name_in(kPackings, v); }
constexpr std::string_view name_of(Workers v) { return name_in(kWorkers, v); }
constexpr std::string_view name_of(Balance v) { return name_in(kBalances, v); }
constexpr std::string_view name_of(OnBadRecord v) { return name_in(kOnBadRecords, v); }
constexpr std::string_view name_of(SourceFormat v) { return name_in(kSourceFormats, v); }
constexpr std::string_view name_of(Tokenize v) { return name_in(kTokenizations, v); }
constexpr std::string_view name_of(Recipe v) { return name_in(kRecipes, v); }
constexpr std::string_view name_of(Fp8Scaling v) { return name_in(kFp8Scalings, v); }
constexpr std::string_view name_of(Parameters v) { return name_in(kParameterTypes, v); }
constexpr std::string_view name_of(Stash v) { return name_in(kStashes, v); }
constexpr std::string_view name_of(MemoryPolicy v) { return name_in(kMemoryPolicies, v); }
constexpr std::string_view name_of(Recompute v) { return name_in(kRecomputes, v); }
constexpr std::string_view name_of(TensorClass v) { return name_in(kTensorClasses, v); }
constexpr std::string_view name_of(OffloadTier v) { return name_in(kOffloadTiers, v); }
constexpr std::string_view name_of(log::Level v) { return name_in(kLevels, v); }

}  // namespace bessemer::config
