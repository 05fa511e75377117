// A value of a JSON file that knows where it stands, for readers that name file and path in every
// complaint.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace bessemer::data {

/// Refers to the document and to the name of its file.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, const std::string& file, std::string path)
      : value_(&value), file_(&file), path_(std::move(path)) {}

  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("{}: {}: {}", *file_, path_.empty() ? "(the whole)" : path_,
               fmt::format(format, std::forward<Args>(args)...));
  }
  [[noreturn]] void expected(std::string_view what) const {
    refuse("found {}, expected {}", value_->type_name(), what);
  }

  const nlohmann::json& value() const { return *value_; }
  bool is_null() const { return value_->is_null(); }

  /// A member; null where it is absent.
  JsonNode operator[](const char* key) const {
    static const nlohmann::json kNull;
    if (!value_->is_object()) expected("an object");
    const auto found = value_->find(key);
    return JsonNode(found == value_->end() ? kNull : *found, *file_,
                    path_.empty() ? key : path_ + "." + key);
  }
  JsonNode item(std::size_t i) const {
    return JsonNode((*value_)[i], *file_, fmt::format("{}[{}]", path_, i));
  }
  JsonNode member(const std::string& key, const nlohmann::json& value) const {
    return JsonNode(value, *file_, fmt::format("{}[{:?}]", path_, key));
  }

  const nlohmann::json::object_t& object() const {
    if (!value_->is_object()) expected("an object");
    return value_->get_ref<const nlohmann::json::object_t&>();
  }
  std::size_t array_size() const {
    if (!value_->is_array()) expected("an array");
    return value_->size();
  }
  const std::string& text() const {
    if (!value_->is_string()) expected("a string");
    return value_->get_ref<const std::string&>();
  }
  bool flag(bool fallback) const {
    if (is_null()) return fallback;
    if (!value_->is_boolean()) expected("true or false");
    return value_->get<bool>();
  }
  double number() const {
    if (!value_->is_number()) expected("a number");
    return value_->get<double>();
  }
  /// An integer in [0, limit).
  std::int32_t id(std::size_t limit) const {
    if (!value_->is_number_integer()) expected("an id, an integer");
    const bool negative = !value_->is_number_unsigned() && value_->get<std::int64_t>() < 0;
    if (negative || value_->get<std::uint64_t>() >= limit) {
      refuse("id {} is out of range: expected 0 to {} in a file with so few tokens", value_->dump(),
             limit - 1);
    }
    return value_->get<std::int32_t>();
  }

 private:
  const nlohmann::json* value_;
  const std::string* file_;
  std::string path_;
};

}  // namespace bessemer::data
