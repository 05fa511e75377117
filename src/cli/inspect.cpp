#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/hugging_face.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/console.h"
#include "plan/report.h"

namespace bessemer::cli {
namespace {

namespace fs = std::filesystem;

void show_tensors(const checkpoint::TensorSource& source) {
  const std::vector<std::string> names = source.names();
  std::size_t width = 4;
  for (const std::string& name : names) width = std::max(width, name.size());
  std::size_t bytes = 0;
  for (const std::string& name : names) {
    const checkpoint::TensorView view = checkpoint::get(source, name);
    bytes += view.bytes.size();
    print(fmt::format("{:<{}}  {:<5} {:<16} {:>9}\n", name, width, name_of(view.type.dtype),
                      to_string(view.type.shape), plan::bytes_text(view.bytes.size())));
  }
  print(fmt::format("{} tensors, {}\n", names.size(), plan::bytes_text(bytes)));
}

void show_checkpoint(const fs::path& path) {
  const checkpoint::Checkpoint checkpoint(path);  // reads and compares every byte
  print(fmt::format("{}\nstep {}\nchecksums: good\n\n", path.string(), checkpoint.step()));
  show_tensors(checkpoint);
  print(fmt::format("\nstate.json\n{}\n", checkpoint.state().dump(2)));
}

int inspect(const std::string& name) {
  const fs::path path = name;
  require_input(fs::exists(path), "{}: no such file or directory", name);
  if (fs::is_regular_file(path)) {
    show_tensors(checkpoint::SafetensorsFile(path));
  } else if (fs::exists(path / "state.json") || fs::exists(path / "manifest.json")) {
    show_checkpoint(path);
  } else if (const auto latest = checkpoint::find_latest(path)) {
    show_checkpoint(*latest);
  } else {
    show_tensors(*checkpoint::open_hugging_face(path));
  }
  return kDone;
}

}  // namespace

void add_inspect(CLI::App& app, Session& session) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand(
      "inspect", "Shows the tensors and the state of a checkpoint, and verifies its checksums");
  command
      ->add_option("CHECKPOINT", *path,
                   "A checkpoint, a run (its latest one), a Hugging Face directory or a "
                   ".safetensors file")
      ->required()
      ->type_name("PATH");
  command->callback([path, &session] { session.action = [path] { return inspect(*path); }; });
}

}  // namespace bessemer::cli
