#include "data/jsonl.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#include "data/byte_alphabet.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

class Scanner {
 public:
  explicit Scanner(std::string_view line) : line_(line) {}

  /// The top-level object, and nothing behind it. `on_key` reads the value of a key and returns
  /// true, or returns false and leaves it.
  template <typename OnKey>
  void line_object(const OnKey& on_key) {
    object(on_key);
    skip_space();
    if (at_ < line_.size()) fail("the end of the line");
  }

  template <typename OnKey>
  void object(const OnKey& on_key) {
    skip_space();
    expect('{', "a JSON object");
    skip_space();
    if (accept('}')) return;
    std::string name;
    do {
      skip_space();
      expect('"', "a key in double quotes");
      read_string(&name);
      skip_space();
      expect(':', "':' after a key");
      skip_space();
      if (!on_key(std::as_const(name))) skip_value();
      skip_space();
    } while (accept(','));
    expect('}', "',' or '}'");
  }

  template <typename OnItem>
  void array(std::string_view what, const OnItem& on_item) {
    expect('[', what);
    skip_space();
    if (accept(']')) return;
    do {
      on_item();
      skip_space();
    } while (accept(','));
    expect(']', "',' or ']'");
  }

  void string_value(std::string_view key, std::string& text) {
    expect('"', fmt::format("a string as the value of \"{}\"", key));
    read_string(&text);
  }

  std::size_t place() const { return at_; }

 private:
  [[noreturn]] void fail(std::string_view expected) const {
    const std::string found = at_ >= line_.size()
                                  ? "the end of the line"
                                  : fmt::format("{:?}", to_alphabet(line_.substr(at_, 1)));
    throw JsonLineError{at_, fmt::format("found {}, expected {}", found, expected)};
  }

  bool accept(char c) {
    if (at_ >= line_.size() || line_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c, std::string_view what) {
    if (!accept(c)) fail(what);
  }
  void skip_space() {
    while (at_ < line_.size() && std::string_view(" \t\r\n").find(line_[at_]) != line_.npos) ++at_;
  }

  /// The rest of a string after its opening quote; decoded into `out` unless that is null.
  void read_string(std::string* out) {
    if (out != nullptr) out->clear();
    while (true) {
      const std::size_t stop = line_.find_first_of("\"\\", at_);
      const std::size_t end = std::min(stop, line_.size());
      if (out != nullptr) out->append(line_, at_, end - at_);
      at_ = end;
      if (stop == line_.npos) fail("the closing '\"' of a string");
      if (line_[at_++] == '"') return;
      read_escape(out);
    }
  }

  void read_escape(std::string* out) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    if (accept('u')) {
      const char32_t rune = read_unicode_escape();
      if (out != nullptr) append_utf8(*out, rune);
      return;
    }
    const std::size_t which = at_ < line_.size() ? kNames.find(line_[at_]) : kNames.npos;
    if (which == kNames.npos) fail("one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX");
    ++at_;
    if (out != nullptr) out->push_back(kValues[which]);
  }

  char32_t read_unicode_escape() {
    const char32_t first = read_hex();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || line_.substr(at_, 2) != "\\u") return kReplacement;
    const std::size_t before = at_;
    at_ += 2;
    const char32_t second = read_hex();
    if (second < 0xDC00 || second > 0xDFFF) {
      at_ = before;
      return kReplacement;
    }
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  char32_t read_hex() {
    char32_t value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = at_ < line_.size() ? line_[at_] : '\0';
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<char32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value * 16 + static_cast<char32_t>(lower - 'a' + 10);
      } else {
        fail("four hexadecimal digits");
      }
      ++at_;
    }
    return value;
  }

  /// Any value. Nesting is kept in `open`, not on the call stack.
  void skip_value() {
    std::string open;
    while (true) {
      skip_space();
      if (accept('{') || accept('[')) {
        if (open.size() == kJsonDepth) fail("less nesting");
        const bool object = line_[at_ - 1] == '{';
        skip_space();
        if (!accept(object ? '}' : ']')) {
          open.push_back(object ? '}' : ']');
          if (object) skip_key();
          continue;
        }
      } else {
        skip_scalar();
      }
      if (close_and_advance(open)) return;
    }
  }

  /// After a value: closes what ends here and moves to the next value. True when all is closed.
  bool close_and_advance(std::string& open) {
    while (!open.empty()) {
      skip_space();
      if (accept(',')) {
        if (open.back() == '}') skip_key();
        return false;
      }
      expect(open.back(), fmt::format("',' or '{}'", open.back()));
      open.pop_back();
    }
    return true;
  }

  void skip_key() {
    skip_space();
    expect('"', "a key in double quotes");
    read_string(nullptr);
    skip_space();
    expect(':', "':' after a key");
  }

  void skip_scalar() {
    if (accept('"')) return read_string(nullptr);
    for (const std::string_view word : {"true", "false", "null"}) {
      if (line_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return;
      }
    }
    skip_number();
  }

  void skip_number() {
    accept('-');
    if (!accept('0')) skip_digits("a value");
    if (accept('.')) skip_digits("a digit");
    if (accept('e') || accept('E')) {
      if (!accept('+')) accept('-');
      skip_digits("a digit");
    }
  }

  void skip_digits(std::string_view expected) {
    const std::size_t before = at_;
    while (at_ < line_.size() && line_[at_] >= '0' && line_[at_] <= '9') ++at_;
    if (at_ == before) fail(expected);
  }

  std::string_view line_;
  std::size_t at_ = 0;
};

}  // namespace

void read_json_text(std::string_view line, std::string_view key, std::string& text) {
  Scanner scanner(line);
  bool found = false;
  scanner.line_object([&](const std::string& name) {
    if (found || name != key) return false;
    scanner.string_value(key, text);
    return found = true;
  });
  if (!found) {
    throw JsonLineError{0, fmt::format("found no key \"{}\", expected it with a string", key)};
  }
}

void read_json_messages(std::string_view line, std::vector<Message>& messages) {
  Scanner scanner(line);
  bool found = false;
  const auto message = [&] {
    const std::size_t begin = scanner.place();
    bool role = false, content = false;
    Message& read = messages.emplace_back();
    scanner.object([&](const std::string& name) {
      if (!role && name == "role") {
        scanner.string_value(name, read.role);
        return role = true;
      }
      if (!content && name == "content") {
        scanner.string_value(name, read.content);
        return content = true;
      }
      return false;
    });
    if (!role || !content) {
      throw JsonLineError{begin, fmt::format("message {} has no \"{}\", expected it with a string",
                                             messages.size(), role ? "content" : "role")};
    }
  };
  messages.clear();
  scanner.line_object([&](const std::string& name) {
    if (found || name != kMessagesKey) return false;
    messages.clear();
    scanner.array("an array as the value of \"messages\"", message);
    return found = true;
  });
  if (!found) {
    throw JsonLineError{0, "found no key \"messages\", expected it with an array of messages"};
  }
}

std::optional<std::vector<std::string>> json_keys(std::string_view line) {
  Scanner scanner(line);
  std::vector<std::string> keys;
  try {
    scanner.line_object([&](const std::string& name) {
      keys.push_back(name);
      return false;
    });
  } catch (const JsonLineError&) {
    return std::nullopt;
  }
  return keys;
}

}  // namespace bessemer::data
