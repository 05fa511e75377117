#include "data/chat.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/byte_alphabet.h"
#include "data/utf8.h"

namespace bessemer::data {
namespace {

using nlohmann::json;

constexpr std::string_view kSame = "*";

ChatTemplate make_chatml() {
  ChatTemplate chat{.name = "chatml"};
  for (const std::string role : {"system", "user", "assistant"}) {
    chat.roles[role] = {"<|im_start|>" + role + "\n", "<|im_end|>", "\n"};
  }
  return chat;
}

ChatTemplate make_llama3() {
  ChatTemplate chat{.name = "llama3", .begin = "<|begin_of_text|>"};
  for (const std::string role : {"system", "user", "assistant"}) {
    chat.roles[role] = {"<|start_header_id|>" + role + "<|end_header_id|>\n\n", "<|eot_id|>", ""};
  }
  chat.contents = ChatTemplate::Contents::trimmed;
  return chat;
}

ChatTemplate make_mistral() {
  ChatTemplate chat{.name = "mistral", .begin = "<s>"};
  chat.roles["system"] = {" [INST] ", "\n\n", ""};
  chat.roles["user"] = {" [INST] ", " [/INST]", ""};
  chat.roles["assistant"] = {" ", "</s>", ""};
  chat.user_prefix_after_system = "";
  chat.turns = ChatTemplate::Turns::alternating;
  return chat;
}

ChatTemplate make_zephyr() {
  ChatTemplate chat{.name = "zephyr"};
  for (const std::string role : {"system", "user", "assistant"}) {
    chat.roles[role] = {"<|" + role + "|>\n", "</s>", "\n"};
  }
  return chat;
}

std::string text_at(const json& object, const char* key, const std::string& place) {
  if (!object.contains(key)) return "";
  require_input(object[key].is_string(), "{}: {}: expected a text, found {}", place, key,
                object[key].dump());
  return object[key].get<std::string>();
}

void refuse_other_keys(const json& object, const std::set<std::string>& keys,
                       const std::string& place) {
  for (const auto& [key, value] : object.items()) {
    require_input(keys.contains(key), "{}: unknown key {:?}; expected {}", place, key,
                  fmt::join(keys, ", "));
  }
}

ChatTemplate from_json(const json& file, const std::string& path) {
  require_input(file.is_object(), "{}: expected an object with roles", path);
  refuse_other_keys(file, {"begin", "trim", "roles"}, path);
  ChatTemplate chat{.name = path, .begin = text_at(file, "begin", path)};
  if (file.contains("trim")) {
    require_input(file["trim"].is_boolean(), "{}: trim: expected true or false", path);
    if (file["trim"].get<bool>()) chat.contents = ChatTemplate::Contents::trimmed;
  }
  const bool roles = file.contains("roles") && file["roles"].is_object();
  require_input(roles && file["roles"].contains("assistant"),
                "{}: roles: expected an object with \"assistant\" among its keys", path);
  for (const auto& [role, frame] : file["roles"].items()) {
    const std::string place = fmt::format("{}: roles.{}", path, role);
    require_input(frame.is_object(), "{}: expected an object with prefix, end and suffix", place);
    refuse_other_keys(frame, {"prefix", "end", "suffix"}, place);
    chat.roles[role] = {text_at(frame, "prefix", place), text_at(frame, "end", place),
                        text_at(frame, "suffix", place)};
  }
  return chat;
}

/// What Python's str.strip takes away.
bool is_python_space(char32_t rune) {
  return (rune >= 0x09 && rune <= 0x0D) || (rune >= 0x1C && rune <= 0x20) || rune == 0x85 ||
         rune == 0xA0 || rune == 0x1680 || (rune >= 0x2000 && rune <= 0x200A) || rune == 0x2028 ||
         rune == 0x2029 || rune == 0x202F || rune == 0x205F || rune == 0x3000;
}

std::string_view trimmed(std::string_view text) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  const unsigned char* end = bytes + text.size();
  const unsigned char *first = nullptr, *last = bytes;  // the first other rune, behind the last
  for (const unsigned char* at = bytes; at < end;) {
    char32_t rune = 0;
    const int length = decode_utf8(at, end, rune);
    const bool space = length > 0 && is_python_space(rune);
    const unsigned char* next = at + std::max(length, 1);
    if (!space && first == nullptr) first = at;
    if (!space) last = next;
    at = next;
  }
  if (first == nullptr) return {};
  return text.substr(static_cast<std::size_t>(first - bytes),
                     static_cast<std::size_t>(last - first));
}

std::string problem_of(const ChatTemplate& chat, const std::vector<Message>& messages) {
  if (messages.empty()) return "found no messages, expected one at least";
  bool assistant = false, user_is_next = true;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const std::string& role = messages[i].role;
    if (!chat.roles.contains(role)) {
      std::vector<std::string> known;
      for (const auto& [name, frame] : chat.roles) known.push_back(name);
      return fmt::format("message {}: found role {:?}, expected one of {}", i + 1,
                         to_alphabet(role), fmt::join(known, ", "));
    }
    assistant = assistant || role == "assistant";
    if (chat.turns == ChatTemplate::Turns::any || (i == 0 && role == "system")) continue;
    if (role != (user_is_next ? "user" : "assistant")) {
      return fmt::format("message {}: found role {}, expected user and assistant in turns", i + 1,
                         role);
    }
    user_is_next = !user_is_next;
  }
  if (!assistant) return "found no assistant among the roles: nothing in it would be trained";
  return "";
}

class Renderer {
 public:
  Renderer(std::string& text, std::vector<TextSpan>& spans) : text_(text), spans_(spans) {}

  void add(std::string_view part, bool frame, bool trained) {
    if (part.empty()) return;
    text_ += part;
    spans_.push_back({part.size(), frame, trained});
  }

 private:
  std::string& text_;
  std::vector<TextSpan>& spans_;
};

}  // namespace

std::string ChatTemplate::description() const {
  std::string all = fmt::format("{:?} {:?} {} {}", begin, user_prefix_after_system,
                                static_cast<int>(turns), static_cast<int>(contents));
  for (const auto& [role, frame] : roles) {
    all += fmt::format(" {:?} {:?} {:?} {:?}", role, frame.prefix, frame.end, frame.suffix);
  }
  return all;
}

ChatTemplate find_chat_template(const std::string& name_or_path) {
  std::string names;
  for (auto* make : {make_chatml, make_llama3, make_mistral, make_zephyr}) {
    ChatTemplate chat = make();
    if (chat.name == name_or_path) return chat;
    names += chat.name + ", ";
  }
  require_input(name_or_path.ends_with(".json"),
                "template {:?}: expected {}or the path of a .json file", name_or_path, names);
  try {
    return from_json(json::parse(read_file(name_or_path)), name_or_path);
  } catch (const json::exception& error) {
    fail_input("{}: not valid JSON: {}", name_or_path, error.what());
  }
}

std::vector<std::string> markers_of(const ChatTemplate& chat) {
  std::vector<std::string> markers;
  const auto look = [&](std::string_view text) {
    for (std::size_t at = 0; (at = text.find_first_of("<[", at)) != text.npos; ++at) {
      const std::size_t end = text.find(text[at] == '<' ? '>' : ']', at);
      if (end == text.npos) continue;
      const std::string marker(text.substr(at, end + 1 - at));
      const bool there = std::find(markers.begin(), markers.end(), marker) != markers.end();
      if (!there) markers.push_back(marker);
    }
  };
  look(chat.begin);
  for (const auto& [role, frame] : chat.roles) {
    for (const std::string& text : {frame.prefix, frame.end, frame.suffix}) look(text);
  }
  return markers;
}

std::string render_chat(const ChatTemplate& chat, const std::vector<Message>& messages,
                        std::string& text, std::vector<TextSpan>& spans) {
  text.clear();
  spans.clear();
  if (std::string problem = problem_of(chat, messages); !problem.empty()) return problem;
  Renderer renderer(text, spans);
  renderer.add(chat.begin, true, false);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const Message& message = messages[i];
    const TurnFrame& frame = chat.roles.at(message.role);
    const bool after_system = i > 0 && messages[i - 1].role == "system" && message.role == "user";
    const bool own_prefix = !after_system || chat.user_prefix_after_system == kSame;
    const bool trained = message.role == "assistant";
    renderer.add(own_prefix ? frame.prefix : chat.user_prefix_after_system, true, false);
    renderer.add(chat.contents == ChatTemplate::Contents::trimmed
                     ? trimmed(message.content)
                     : std::string_view(message.content),
                 false, trained);
    renderer.add(frame.end, true, trained);
    renderer.add(frame.suffix, true, false);
  }
  return "";
}

}  // namespace bessemer::data
