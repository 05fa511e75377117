#include "cli/help.h"

#include <sstream>

namespace bessemer::cli {
namespace {

constexpr std::size_t kNameColumns = 34;
constexpr std::size_t kTextColumns = 66;

// Lines of at most kTextColumns; the base class indents what follows a line's end.
std::string wrapped(const std::string& text) {
  std::istringstream words(text);
  std::string result;
  std::size_t column = 0;
  for (std::string word; words >> word;) {
    const bool fits = column + 1 + word.size() <= kTextColumns;
    if (column > 0) result += fits ? ' ' : '\n';
    column = column > 0 && fits ? column + 1 + word.size() : word.size();
    result += word;
  }
  return result;
}

}  // namespace

HelpFormatter::HelpFormatter() { column_width(kNameColumns); }

std::string HelpFormatter::make_option_opts(const CLI::Option* option) const {
  std::string text;
  if (option->get_type_size() != 0) text += " " + option->get_type_name();
  if (option->get_required()) text += " (required)";
  return text;
}

std::string HelpFormatter::make_option_desc(const CLI::Option* option) const {
  const std::string value = option->get_default_str();
  return wrapped(option->get_description() + (value.empty() ? "" : " (" + value + ")"));
}

std::string HelpFormatter::make_subcommand(const CLI::App* command) const {
  std::stringstream out;
  CLI::detail::format_help(out, command->get_display_name(), wrapped(command->get_description()),
                           kNameColumns);
  return out.str();
}

}  // namespace bessemer::cli
