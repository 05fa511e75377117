// A compiled PCRE2 pattern (UTF and UCP modes, JIT where the machine has it).
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bessemer::data {

class Regex {
 public:
  /// \s and \S outside and \s inside character classes mean `kWhiteSpace`; \w and \W likewise
  /// `kWordCharacters`. InputError where the pattern does not compile.
  explicit Regex(const std::string& pattern);
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

    /// [begin, end) of the first non-empty match at or after `from` in `text`, which must be valid
    /// UTF-8. InputError where the pattern backtracks without bound.
    std::optional<std::pair<std::size_t, std::size_t>> find(std::string_view text,
                                                            std::size_t from);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

}  // namespace bessemer::data
