#include "data/record_parser.h"

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"

namespace bessemer::data {

void RecordParser::read(std::string_view line, std::string& text, std::vector<TextSpan>& spans) {
  spans.clear();
  if (options_.chat == nullptr) return read_json_text(line, options_.text_key, text);
  read_json_messages(line, messages_);
  const std::string problem = render_chat(*options_.chat, messages_, text, spans);
  if (!problem.empty()) throw JsonLineError{0, problem};
}

bool RecordParser::parse(std::string_view line, std::uint64_t line_number, std::uint64_t offset,
                         std::string& text, std::vector<TextSpan>& spans) {
  try {
    read(line, text, spans);
    return true;
  } catch (const JsonLineError& error) {
    const std::string what =
        fmt::format("{}:{}: column {}: {}", name_, line_number, error.place + 1, error.message);
    if (options_.on_bad_record == OnBadRecord::stop) {
      fail_input("{}; correct or remove the line, or skip bad records (data.on_bad_record)", what);
    }
    if (++bad_records_ <= options_.bad_records_shown)
      log::warn("{} (byte {}); skipped", what, offset);
    return false;
  }
}

}  // namespace bessemer::data
