#include "checkpoint/json_text.h"

#include <unordered_set>
#include <vector>

#include "base/error.h"

namespace bessemer::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostQuoted = 120;

std::string cut(std::string text) {
  if (text.size() > kMostQuoted) text = text.substr(0, kMostQuoted) + "...";
  return text;
}

// Sees each event of the parse; nlohmann alone would keep the last of two equal keys.
class Guard {
 public:
  Guard(std::string_view place, int most_depth)
      : place_(place), most_depth_(static_cast<std::size_t>(most_depth)) {}

  bool operator()(int /*depth*/, Json::parse_event_t event, Json& parsed) {
    switch (event) {
      case Json::parse_event_t::object_start:
      case Json::parse_event_t::array_start:
        keys_.emplace_back();
        require_input(keys_.size() <= most_depth_, "{}: JSON nested deeper than {} levels", place_,
                      most_depth_);
        break;
      case Json::parse_event_t::object_end:
      case Json::parse_event_t::array_end: keys_.pop_back(); break;
      case Json::parse_event_t::key: {
        const auto& key = parsed.get_ref<const std::string&>();
        require_input(keys_.back().insert(key).second, "{}: the key {} stands twice", place_,
                      quote(key));
        break;
      }
      case Json::parse_event_t::value: break;
    }
    return true;
  }

 private:
  std::string_view place_;
  std::size_t most_depth_;
  std::vector<std::unordered_set<std::string>> keys_;  // one set for each open bracket
};

}  // namespace

Json parse_json_object(std::string_view text, std::string_view place, int most_depth) {
  Guard guard(place, most_depth);
  Json parsed;
  try {
    parsed = Json::parse(text.begin(), text.end(), std::ref(guard));
  } catch (const Json::parse_error& error) {
    fail_input("{}: not valid JSON at byte {} of {}", place, error.byte, text.size());
  } catch (const Json::exception& error) {
    fail_input("{}: not valid JSON: {}", place, cut(error.what()));
  }
  require_input(parsed.is_object(), "{}: expected a JSON object, found {}", place,
                shortened(parsed));
  return parsed;
}

std::string quote(std::string_view text) {
  const bool is_long = text.size() > kMostQuoted;
  const Json value = std::string(text.substr(0, kMostQuoted));
  return value.dump(-1, ' ', true, Json::error_handler_t::replace) + (is_long ? "..." : "");
}

std::string shortened(const Json& found) {
  // Big values are named, not printed: printing them whole only to cut them would cost memory.
  if (found.is_structured() && found.size() > kMostQuoted) {
    return std::string("a long ") + found.type_name();
  }
  if (found.is_string()) return quote(found.get_ref<const std::string&>());
  return cut(found.dump(-1, ' ', true, Json::error_handler_t::replace));
}

const Json& member(const Json& object, std::string_view key, std::string_view place) {
  const auto found = object.find(key);
  require_input(found != object.end(), "{}: the key \"{}\" is missing", place, key);
  return *found;
}

}  // namespace bessemer::checkpoint
