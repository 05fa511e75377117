#include "data/regex.h"

#include <array>
#include <cstdint>
#include <cstdio>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"
#include "data/regex_syntax.h"

namespace bessemer::data {
namespace {

/// The version of PCRE2's tables.
UnicodeVersion unicode_of_pcre2() {
  std::array<char, 64> text{};
  pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, text.data());
  int major = 0, minor = 0;
  std::sscanf(text.data(), "%d.%d", &major, &minor);
  return 10 * major + minor;
}

std::string message_of(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Code {
  pcre2_code* value = nullptr;
  std::string pattern;
  const StandIns* stand_ins = nullptr;
  ~Code() { pcre2_code_free(value); }
};

Regex::Regex(const std::string& pattern, UnicodeVersion unicode) : code_(std::make_unique<Code>()) {
  const std::string translated = from_oniguruma(pattern);
  int error = 0;
  PCRE2_SIZE place = 0;
  code_->pattern = pattern;
  code_->stand_ins = &StandIns::of(unicode, unicode_of_pcre2());
  code_->value = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                               PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                               &error, &place, nullptr);
  require_input(code_->value != nullptr, "pattern {:?}: {}", pattern, message_of(error));
  pcre2_jit_compile(code_->value, PCRE2_JIT_COMPLETE);  // without JIT it matches too, slower
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

struct Regex::Matcher::State {
  const Code* code;
  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
  std::string_view text;
  std::string replaced;  // what `text` lies in where it has stand-ins

  explicit State(const Code* compiled)
      : code(compiled),
        data(pcre2_match_data_create_from_pattern(compiled->value, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(1 << 15, 1 << 23, nullptr)) {
    require(data != nullptr && context != nullptr, "PCRE2 has no memory");
    constexpr std::uint32_t kMostBacktracks = 10'000'000;
    pcre2_set_match_limit(context, kMostBacktracks);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

Regex::Matcher::Matcher(const Regex& regex) : state_(std::make_unique<State>(regex.code_.get())) {}
Regex::Matcher::~Matcher() = default;
Regex::Matcher::Matcher(Matcher&&) noexcept = default;
Regex::Matcher& Regex::Matcher::operator=(Matcher&&) noexcept = default;

void Regex::Matcher::start(std::string_view text) {
  state_->text = state_->code->stand_ins->replace(text, state_->replaced);
}

std::optional<std::pair<std::size_t, std::size_t>> Regex::Matcher::find(std::size_t from) {
  const std::string_view text = state_->text;
  const int code =
      pcre2_match(state_->code->value, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                  PCRE2_NOTEMPTY | PCRE2_NO_UTF_CHECK, state_->data, state_->context);
  if (code == PCRE2_ERROR_NOMATCH) return std::nullopt;
  require_input(code >= 0, "pattern {:?}: cannot split a text of {} bytes: {}",
                state_->code->pattern, text.size(), message_of(code));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state_->data);
  // \K may move the start of a match about; such a match counts from `from`.
  const std::size_t begin = bounds[0] < from || bounds[0] >= bounds[1] ? from : bounds[0];
  if (bounds[1] <= begin) return std::nullopt;
  return std::pair<std::size_t, std::size_t>{begin, bounds[1]};
}

}  // namespace bessemer::data
