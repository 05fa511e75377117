#include "kernels/cuda/product_table.h"

#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/file_lock.h"
#include "base/log.h"

namespace bessemer::kernels::cuda {
namespace {

constexpr const char* kFile = "cublaslt.txt";

/// A later algorithm is taken where it needs less than this part of an earlier one's time.
constexpr double kClearlyFaster = 0.98;

/// The part before the first `separator`; `text` keeps what comes after it.
std::string_view cut(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  return part;
}

std::optional<std::uint64_t> parse_word(std::string_view text) {
  std::uint64_t word = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, word, 16);
  if (text.empty() || error != std::errc() || stop != end) return std::nullopt;
  return word;
}

std::optional<ProductAlgorithm> parse_words(std::string_view text) {
  ProductAlgorithm algorithm{};
  for (std::uint64_t& word : algorithm) {
    const auto parsed = parse_word(cut(text, ' '));
    if (!parsed) return std::nullopt;
    word = *parsed;
  }
  if (!text.empty()) return std::nullopt;
  return algorithm;
}

std::string_view text_of(Fp8Block block) {
  switch (block) {
    case Fp8Block::tensor: return "";
    case Fp8Block::row: return " by 1x128";
    case Fp8Block::square: return " by 128x128";
  }
  return "";
}

/// "bf16", "tf32", "fp8_e4m3 by 1x128 and fp8_e4m3 by 128x128"
std::string operands_text(const ProductSpec& spec) {
  if (spec.tf32) return "tf32";
  if (!spec.is_fp8()) return std::string(name_of(spec.a));
  return fmt::format("{}{} and {}{}", name_of(spec.a), text_of(spec.block_a), name_of(spec.b),
                     text_of(spec.block_b));
}

}  // namespace

std::string product_key(std::string_view device, std::string_view library,
                        const ProductSpec& spec) {
  std::string key = fmt::format("{}; {}; ", device, library);
  if (spec.batch != 1) key += fmt::format("{} times ", spec.batch);
  key +=
      fmt::format("{} {}x{}x{} {}{} -> {}", operands_text(spec), spec.m, spec.n, spec.k,
                  spec.transpose_a ? 't' : 'n', spec.transpose_b ? 't' : 'n', name_of(spec.result));
  if (spec.a_row > 0) key += fmt::format(", rows of a {}", spec.a_row);
  if (spec.result_row > 0) key += fmt::format(", rows {}", spec.result_row);
  if (spec.bias) key += " + bias";
  if (spec.addend) key += " + addend";
  if (spec.activation == ProductSpec::Activation::gelu_tanh) key += ", gelu_tanh";
  if (spec.activation == ProductSpec::Activation::gelu_tanh_grad) key += ", gelu_tanh_grad";
  if (spec.row_sums) key += ", sums of rows";
  return key;
}

std::string to_text(const ProductChoices& choices) {
  std::string text;
  for (const auto& [key, algorithm] : choices) {
    text += fmt::format("{}\t{:x}\n", key, fmt::join(algorithm, " "));
  }
  return text;
}

ProductChoices parse_product_choices(std::string_view text) {
  ProductChoices choices;
  while (!text.empty()) {
    std::string_view line = cut(text, '\n');
    const std::string_view key = cut(line, '\t');
    const auto algorithm = parse_words(line);
    if (algorithm && !key.empty()) choices.insert_or_assign(std::string(key), *algorithm);
  }
  return choices;
}

std::size_t fastest(std::span<const double> seconds) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < seconds.size(); ++i) {
    if (seconds[i] < kClearlyFaster * seconds[best]) best = i;
  }
  return best;
}

void ProductTable::keep_in(std::filesystem::path directory) {
  const std::lock_guard lock(mutex_);
  directory_ = std::move(directory);
  read_file();
}

std::optional<ProductAlgorithm> ProductTable::find(std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto found = choices_.find(key);
  if (found == choices_.end()) return std::nullopt;
  return found->second;
}

ProductAlgorithm ProductTable::keep(const std::string& key, const ProductAlgorithm& algorithm,
                                    const std::optional<ProductAlgorithm>& broken) {
  const std::lock_guard lock(mutex_);
  const auto drop_broken = [&] {
    const auto found = choices_.find(key);
    if (found != choices_.end() && found->second == broken) choices_.erase(found);
  };
  drop_broken();
  try {
    if (directory_.empty()) return choices_.try_emplace(key, algorithm).first->second;
    FileLock file(path() += ".lock");
    const std::lock_guard alone(file);
    read_file();
    drop_broken();
    const auto [kept, is_new] = choices_.try_emplace(key, algorithm);
    if (is_new) write_file();
    return kept->second;
  } catch (const InputError& error) {
    log::warn("the algorithm of a matrix product is not kept, the next run may take another: {}",
              error.what());
    return choices_.try_emplace(key, algorithm).first->second;
  }
}

// What this process has already stays: its products run with it.
void ProductTable::read_file() {
  if (directory_.empty() || !std::filesystem::exists(path())) return;
  choices_.merge(parse_product_choices(bessemer::read_file(path())));
}

void ProductTable::write_file() const { write_file_atomically(path(), to_text(choices_)); }

std::filesystem::path ProductTable::path() const { return directory_ / kFile; }

ProductTable& product_table() {
  static ProductTable table;
  return table;
}

}  // namespace bessemer::kernels::cuda
