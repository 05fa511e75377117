// JSON from outside: parsed within limits, duplicate keys refused.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace bessemer::checkpoint {

/// Parses one JSON object. `place` (a file's path) opens every message. InputError where the text
/// is not JSON, nests deeper than `most_depth`, repeats a key in an object, or is no object.
nlohmann::json parse_json_object(std::string_view text, std::string_view place, int most_depth);

/// An outside string made fit for a message: in double quotes, escaped, shortened when long.
std::string quote(std::string_view text);

/// `found` as a short piece of JSON for a message.
std::string shortened(const nlohmann::json& found);

/// The member `key` of `object`; InputError at `place` where it is absent.
const nlohmann::json& member(const nlohmann::json& object, std::string_view key,
                             std::string_view place);

}  // namespace bessemer::checkpoint
