#include "cli/cli.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <new>

#include <fmt/format.h>

#include "base/error.h"
#include "base/parallel.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "cli/help.h"
#include "config/suggest.h"

namespace bessemer::cli {
namespace {

std::unique_ptr<CLI::App> make_app(Session& session) {
  auto app = std::make_unique<CLI::App>(
      "Trains transformer language models: a training step is a program, compiled once.",
      "bessemer");
  app->formatter(std::make_shared<HelpFormatter>());
  app->set_help_flag("-h,--help", "Shows this help and ends");
  app->set_version_flag("--version", fmt::format("bessemer {}", kVersion),
                        "Shows the version and ends");
  app->add_option_function<std::string>(
         "--log-level",
         [&session](const std::string& name) { session.log_level = log::parse_level(name); },
         "What is told on standard error: debug, info, warn, error or off (info); debug also "
         "tells why kernels declined")
      ->type_name("LEVEL");
  app->add_option("--threads", session.threads, "Threads of the kernels (all cores)")
      ->type_name("N")
      ->check(between(1, 4096));
  app->require_subcommand(1);
  app->fallthrough();
  add_train(*app, session);
  add_plan(*app, session);
  add_generate(*app, session);
  add_eval(*app, session);
  add_tokenizer(*app, session);
  add_data(*app, session);
  add_import(*app, session);
  add_export(*app, session);
  add_inspect(*app, session);
  add_doctor(*app, session);
  app->footer(
      "--log-level and --threads may stand behind a command too. `bessemer COMMAND --help` tells "
      "more.\nExit status: 0 done, 2 a mistake in what was given, 75 stopped by a signal and "
      "saved, 1 anything else.");
  return app;
}

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands(
      [](const CLI::App* command) { return command->get_group() != kHidden; });
}

// `parent` is the full name of the command above, empty for none.
void append_help(const CLI::App& app, const std::string& parent, std::string& text) {
  const std::string name = parent.empty() ? app.get_name() : parent + " " + app.get_name();
  text += fmt::format("$ {} --help\n{}\n", name, app.help(parent));
  for (const CLI::App* command : commands_of(app)) append_help(*command, name, text);
}

std::string known_commands(const CLI::App& app) {
  std::string text;
  for (const CLI::App* command : commands_of(app)) {
    text += (text.empty() ? "" : ", ") + command->get_name();
  }
  return text;
}

// The command the user meant, where one is near: "; did you mean plan?".
std::string suggestion(const CLI::App& app, const std::string& given) {
  for (const CLI::App* command : commands_of(app)) {
    if (config::edit_distance(given, command->get_name()) <= 2) {
      return fmt::format("; did you mean {}?", command->get_name());
    }
  }
  return "; expected one of " + known_commands(app);
}

// The innermost command that was recognised, and its full name.
std::pair<const CLI::App*, std::string> innermost(const CLI::App& app) {
  const CLI::App* at = &app;
  std::string name = app.get_name();
  while (true) {
    const auto chosen = at->get_subcommands();
    if (chosen.empty()) return {at, name};
    at = chosen.back();
    name += " " + at->get_name();
  }
}

std::string explain(const CLI::App& app, const CLI::ParseError& error) {
  const auto [at, name] = innermost(app);
  const std::vector<std::string> rest = app.remaining(true);
  std::string text = error.what();
  if (!commands_of(*at).empty()) {
    text = rest.empty() ? fmt::format("{} needs a command: {}", name, known_commands(*at))
                        : fmt::format("'{}' is no command of {}{}", rest.front(), name,
                                      suggestion(*at, rest.front()));
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return fmt::format("bessemer: {}\nTry `{} --help`.\n", text, name);
}

// Whether a message opens with FILE:LINE:, as editors understand it.
bool opens_with_place(std::string_view message) {
  const std::size_t end = message.find(": ");
  if (end == std::string_view::npos) return false;
  const std::size_t colon = message.substr(0, end).rfind(':');
  if (colon == std::string_view::npos || colon + 1 == end) return false;
  const std::string_view line = message.substr(colon + 1, end - colon - 1);
  return std::all_of(line.begin(), line.end(),
                     [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; });
}

void complain(std::string_view message) {
  fmt::print(stderr, "{}{}\n", opens_with_place(message) ? "" : "bessemer: ", message);
}

int perform(const Session& session) {
  if (session.log_level) log::set_level(*session.log_level);
  if (session.threads) set_thread_count(*session.threads);
  const int code = session.action();
  flush();
  return code;
}

int parse_and_perform(int argc, const char* const* argv) {
  Session session;
  const std::unique_ptr<CLI::App> app = make_app(session);
  try {
    app->parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    print(app->help());
    flush();
    return kDone;
  } catch (const CLI::CallForVersion& version) {
    print(fmt::format("{}\n", version.what()));
    flush();
    return kDone;
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "{}", explain(*app, error));
    return kUserError;
  }
  return perform(session);
}

}  // namespace

int run(int argc, const char* const* argv) {
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return parse_and_perform(argc, argv);
  } catch (const OutputClosed&) {
    return kDone;
  } catch (const InputError& error) {
    complain(error.what());
    return kUserError;
  } catch (const std::bad_alloc&) {
    complain("the system has no memory left; a smaller train.micro_batch_size needs less");
  } catch (const std::exception& error) {
    complain(error.what());
    fmt::print(stderr,
               "Where that does not say what to do, it is a defect of Bessemer: please report the "
               "command line and the message.\n");
  }
  return kFailed;
}

std::string all_help() {
  Session session;
  std::string text;
  append_help(*make_app(session), "", text);
  return text;
}

}  // namespace bessemer::cli
