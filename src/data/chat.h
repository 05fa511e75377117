// Chat: conversations as one text, and what of it is trained.
//
// A template is a table: what stands in front of and behind the messages of each role. Rendered
// text is what Hugging Face's `apply_chat_template` gives for the template of that name, without a
// prompt for generation:
//
//   chatml   <|im_start|>ROLE\nCONTENT<|im_end|>\n
//   llama3   <|begin_of_text|>, then <|start_header_id|>ROLE<|end_header_id|>\n\nCONTENT<|eot_id|>,
//            contents without white space at their ends
//   mistral  <s>, then " [INST] USER [/INST]" and " ASSISTANT</s>" in turns; a system message
//            stands in front of the first user's, with an empty line between
//   zephyr   <|ROLE|>\nCONTENT</s>\n
//
// The assistant's contents and the end markers behind them are trained; nothing else is.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace bessemer::data {

inline constexpr std::string_view kDefaultChatTemplate = "chatml";

struct Message {
  std::string role, content;
};

/// A stretch of a document's text. A document without spans is all content, and trained.
struct TextSpan {
  std::size_t bytes = 0;
  bool frame = false;    // the template's: added tokens in it are tokens; in content they are text
  bool trained = false;  // what a model learns to say
};

/// What a template puts around a message.
struct TurnFrame {
  std::string prefix;
  std::string end;     // the end-of-turn marker
  std::string suffix;  // behind the end marker, never trained
};

struct ChatTemplate {
  enum class Turns { any, alternating };  // of user and assistant, who begins with the user
  enum class Contents { as_they_are, trimmed };

  std::string name;
  std::string begin;                           // in front of the first message
  std::map<std::string, TurnFrame> roles;      // "system", "user", "assistant", ...
  std::string user_prefix_after_system = "*";  // "*": the same as of any user's message
  Turns turns = Turns::any;
  Contents contents = Contents::as_they_are;

  /// All of it as text, for digests: equal templates render alike.
  std::string description() const;
};

/// A template by name, or from a JSON file:
///
///   {"begin": "", "trim": false,
///    "roles": {"user": {"prefix": "User: ", "end": "", "suffix": "\n"}, "assistant": {...}}}
///
/// of which only roles, with an assistant, is needed, and in it any of the three texts may be left
/// out. InputError lists the names, or says what is wrong with the file.
ChatTemplate find_chat_template(const std::string& name_or_path);

/// The markers that templates of this kind are made of ("<|im_start|>"), found as texts between
/// '<' and '>' or '[' and ']': what a tokenizer that is trained for it should have as added tokens.
std::vector<std::string> markers_of(const ChatTemplate& chat);

/// Puts the conversation in `text` and its parts in `spans`. Returns what is wrong with it, and
/// then renders nothing: no messages, a role the template has not, no assistant, or turns out of
/// their order; empty where all is well.
std::string render_chat(const ChatTemplate& chat, const std::vector<Message>& messages,
                        std::string& text, std::vector<TextSpan>& spans);

}  // namespace bessemer::data
