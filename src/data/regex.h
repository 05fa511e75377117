// A compiled PCRE2 pattern (UTF and UCP modes, JIT where the machine has it), of any version of
// Unicode, whatever PCRE2's own tables have.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "data/unicode_version.h"

namespace bessemer::data {

class Regex {
 public:
  /// `pattern` is in Oniguruma's syntax (regex_syntax.h). InputError where it does not compile.
  explicit Regex(const std::string& pattern, UnicodeVersion unicode = kUnicodeOfPatterns);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// What one thread needs to match.
  class Matcher {
   public:
    explicit Matcher(const Regex& regex);
    ~Matcher();
    Matcher(Matcher&&) noexcept;
    Matcher& operator=(Matcher&&) noexcept;

    /// Starts on `text`, which must be valid UTF-8 and stay where it is.
    void start(std::string_view text);

    /// [begin, end) of the first non-empty match at or after `from` in the text. InputError where
    /// the pattern backtracks without bound.
    std::optional<std::pair<std::size_t, std::size_t>> find(std::size_t from);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace bessemer::data
