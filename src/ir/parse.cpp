#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>

#include "base/error.h"
#include "ir/text.h"

namespace bessemer::ir {
namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.';
}

// One line of text with a cursor.
class Line {
 public:
  Line(std::string_view text, int number) : text_(text), number_(number) {}

  template <typename... Args>
  [[noreturn]] void fail_here(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("line {}, column {}: {}", number_, at_ + 1,
               fmt::format(format, std::forward<Args>(args)...));
  }

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
  }
  bool done() {
    skip_space();
    return at_ == text_.size();
  }
  bool take(char c) {
    skip_space();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) fail_here("expected '{}'", c);
  }
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  std::string_view rest() {
    skip_space();
    return text_.substr(at_);
  }

  std::string_view name(std::string_view what) {
    skip_space();
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_name_character(text_[at_])) ++at_;
    if (at_ == begin) fail_here("expected {}", what);
    return text_.substr(begin, at_ - begin);
  }

  std::string quoted() {
    expect('"');
    std::string out;
    while (at_ < text_.size() && text_[at_] != '"') {
      if (text_[at_] == '\\' && at_ + 1 < text_.size()) {
        ++at_;
        out += text_[at_] == 'n' ? '\n' : text_[at_];
      } else {
        out += text_[at_];
      }
      ++at_;
    }
    if (at_ == text_.size()) fail_here("the text in quotes does not end");
    ++at_;
    return out;
  }

  std::int64_t integer() {
    skip_space();
    std::int64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc{}) fail_here("expected an integer");
    at_ = static_cast<std::size_t>(end - text_.data());
    return value;
  }

  Attribute attribute() {
    const char c = peek();
    if (c == '"') return quoted();
    if (c == '[') return integers();
    const std::size_t begin = at_;
    while (at_ < text_.size() &&
           (is_name_character(text_[at_]) || text_[at_] == '-' || text_[at_] == '+')) {
      ++at_;
    }
    return scalar(text_.substr(begin, at_ - begin));
  }

  std::vector<std::int64_t> integers() {
    expect('[');
    std::vector<std::int64_t> list;
    if (take(']')) return list;
    do {
      list.push_back(integer());
    } while (take(','));
    expect(']');
    return list;
  }

 private:
  Attribute scalar(std::string_view word) const {
    if (word == "true") return true;
    if (word == "false") return false;
    const char* end = word.data() + word.size();
    std::int64_t whole = 0;
    if (const auto r = std::from_chars(word.data(), end, whole);
        r.ec == std::errc{} && r.ptr == end) {
      return whole;
    }
    double real = 0;
    if (const auto r = std::from_chars(word.data(), end, real);
        r.ec == std::errc{} && r.ptr == end) {
      return real;
    }
    fail_here("'{}' is no attribute value", word);
  }

  std::string_view text_;
  int number_;
  std::size_t at_ = 0;
};

class Parser {
 public:
  Graph run(std::string_view text) {
    int number = 0;
    while (!text.empty()) {
      const auto end = text.find('\n');
      Line line(text.substr(0, end), ++number);
      text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
      if (line.done() || line.peek() == '#') continue;
      parse_line(line);
    }
    require_input(named_, "line 1: expected 'graph NAME'");
    return std::move(graph_);
  }

 private:
  void parse_line(Line& line) {
    if (!named_) {
      if (line.name("'graph'") != "graph") line.fail_here("expected 'graph NAME' first");
      graph_.set_name(std::string(line.name("the graph's name")));
      named_ = true;
    } else if (line.peek() == '%') {
      parse_node(line);
    } else {
      parse_keyword(line);
    }
  }

  void parse_keyword(Line& line) {
    const std::string_view word = line.name("an item");
    if (const auto role = parse_role(word)) {
      const ValueId value = define(line, stated(line));
      std::string name = line.quoted();
      if (graph_.find_input(name) != nullptr) line.fail_here("a second input named \"{}\"", name);
      graph_.bind_input({value, *role, std::move(name)});
    } else if (word == "return") {
      std::string name = line.quoted();
      graph_.add_result(std::move(name), use(line));
    } else if (word == "write") {
      std::string name = line.quoted();
      graph_.add_write(std::move(name), use(line));
    } else {
      line.fail_here("'{}' is no item; expected an input role, '%', 'return' or 'write'", word);
    }
    if (!line.done()) line.fail_here("unexpected text '{}'", line.rest());
  }

  void parse_node(Line& line) {
    std::vector<Value> pending;
    do {
      pending.push_back(stated(line));
    } while (line.take(','));
    line.expect('=');
    Node node;
    node.op = std::string(line.name("an op"));
    parse_operands(line, node);
    parse_attributes(line, node);
    if (line.take('#')) {
      node.label = std::string(line.rest());
    } else if (!line.done()) {
      line.fail_here("unexpected text '{}'", line.rest());
    }
    for (const Value& result : pending) node.results.push_back(define(line, result));
    graph_.nodes().push_back(std::move(node));
  }

  void parse_operands(Line& line, Node& node) {
    line.expect('(');
    if (line.take(')')) return;
    do {
      if (line.peek() == '_') {
        line.take('_');
        node.operands.push_back(kAbsent);
      } else {
        node.operands.push_back(use(line));
      }
    } while (line.take(','));
    line.expect(')');
  }

  static void parse_attributes(Line& line, Node& node) {
    if (!line.take('{') || line.take('}')) return;
    do {
      const std::string key(line.name("an attribute"));
      line.expect('=');
      node.attributes.set(key, line.attribute());
    } while (line.take(','));
    line.expect('}');
  }

  // A value as it is stated where it is defined.
  static Value stated(Line& line) {
    line.expect('%');
    Value value{std::string(line.name("a value's name")), {}, {}};
    line.expect(':');
    value.type = type(line);
    while (line.take('@')) {
      if (line.peek() == '(') {
        value.placement = placement(line);
      } else {
        value.tier = tier(line);
      }
    }
    return value;
  }

  ValueId define(const Line& line, const Value& value) {
    if (ids_.contains(value.name)) line.fail_here("%{} is defined twice", value.name);
    const ValueId id = graph_.add_value(value.name, value.type, value.placement);
    graph_.value(id).tier = value.tier;
    ids_.emplace(value.name, id);
    return id;
  }

  ValueId use(Line& line) {
    line.expect('%');
    const std::string name(line.name("a value's name"));
    const auto at = ids_.find(name);
    if (at == ids_.end()) line.fail_here("%{} is used before it is defined", name);
    return at->second;
  }

  static TensorType type(Line& line) {
    const std::string_view word = line.name("a dtype");
    const auto dtype = parse_dtype(word);
    if (!dtype) line.fail_here("'{}' is no dtype", word);
    TensorType result{*dtype, line.integers()};
    std::int64_t elements = 1;
    for (const std::int64_t size : result.shape) {
      if (size < 0 ||
          (size > 0 && elements > std::numeric_limits<std::int64_t>::max() / 16 / size)) {
        line.fail_here("size {} is not possible", size);
      }
      elements *= std::max<std::int64_t>(size, 1);  // an empty tensor's sizes stay bounded too
    }
    return result;
  }

  static Placement placement(Line& line) {
    Placement result;
    line.expect('(');
    do {
      AxisPlacement axis;
      axis.axis = mesh_axis(line);
      line.expect(':');
      if (line.take('+')) {
        axis.kind = AxisPlacement::Kind::partial;
      } else {
        axis.dim = line.integer();
      }
      result.axes.push_back(axis);
    } while (line.take(','));
    line.expect(')');
    return result;
  }

  static Tier tier(Line& line) {
    const std::string_view word = line.name("a tier");
    const auto tier = parse_tier(word);
    if (!tier) line.fail_here("'{}' is no tier; expected host or file", word);
    return *tier;
  }

  static MeshAxis mesh_axis(Line& line) {
    const std::string_view word = line.name("a mesh axis");
    for (const MeshAxis axis :
         {MeshAxis::pp, MeshAxis::dp, MeshAxis::cp, MeshAxis::ep, MeshAxis::tp}) {
      if (word == name_of(axis)) return axis;
    }
    line.fail_here("'{}' is no mesh axis; expected pp, dp, cp, ep or tp", word);
  }

  Graph graph_;
  bool named_ = false;
  std::unordered_map<std::string, ValueId> ids_;
};

}  // namespace

Graph parse(std::string_view text) { return Parser().run(text); }

}  // namespace bessemer::ir
