// join_parts, declared in parts.h.
#include <algorithm>
#include <optional>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "data/loss_mask.h"
#include "data/parts.h"
#include "data/places.h"

namespace bessemer::data {
namespace {

namespace fs = std::filesystem;

/// Removes what is not whole where an error ends the work.
class PartialFiles {
 public:
  explicit PartialFiles(std::vector<fs::path> paths) : paths_(std::move(paths)) {}
  PartialFiles(const PartialFiles&) = delete;
  PartialFiles& operator=(const PartialFiles&) = delete;
  ~PartialFiles() {
    std::error_code ignored;
    for (const fs::path& path : paths_) fs::remove(partial_path(path), ignored);
  }

 private:
  std::vector<fs::path> paths_;
};

/// Calls visitor(tokens) for every document of the parts end to end.
void visit_documents(const std::vector<MadePart>& parts, const LengthVisitor& visitor) {
  std::uint64_t open = 0;  // tokens of a document that the next part may go on with
  bool any = false;
  for (const MadePart& part : parts) {
    bool goes_on = part.summary.begin.within;
    for (const PartDocument& document : read_part_documents(part.path)) {
      if (any && !goes_on) visitor(std::exchange(open, 0));
      goes_on = false;
      any = true;
      open += document.tokens;
    }
  }
  if (any) visitor(open);
}

/// A damaged part is removed, so that the next build makes it again.
PartContent read_whole(const fs::path& path) {
  try {
    return PartContent(path);
  } catch (const InputError&) {
    std::error_code ignored;
    fs::remove(path, ignored);
    fail_input("{}: damaged since it was made, and removed; build again to make it anew",
               path.string());
  }
}

/// `loss`, where the parts have masks, gets all of them.
void join_contents(const std::vector<MadePart>& parts, const fs::path& bin, const fs::path& place,
                   LossMaskWriter* loss) {
  RecordWriter tokens(bin);
  PlacesWriter places(place);
  for (const MadePart& part : parts) {
    const PartContent content = read_whole(part.path);
    tokens.write(content.tokens());
    if (loss != nullptr) loss->append(content.trained());
    bool goes_on = part.summary.begin.within;
    for (const PartDocument& document : content.documents()) {
      const auto file = static_cast<std::uint32_t>(part.first_file + document.file);
      if (!goes_on) places.put({document.offset, file});
      goes_on = false;
    }
  }
  tokens.close();
  places.close();
  if (loss != nullptr) loss->close();
}

}  // namespace

void join_parts(const std::vector<MadePart>& parts, const fs::path& prefix, TokenType type,
                const std::function<void()>& before_change) {
  const std::vector<fs::path> paths{bin_path(prefix), idx_path(prefix), places_path(prefix)};
  const PartialFiles partial(paths);
  std::optional<LossMaskWriter> loss;
  const auto masked = [](const MadePart& part) { return part.summary.masked; };
  if (std::any_of(parts.begin(), parts.end(), masked)) loss.emplace(prefix);
  join_contents(parts, partial_path(paths[0]), partial_path(paths[2]), loss ? &*loss : nullptr);
  write_index(partial_path(paths[1]), type,
              [&](const LengthVisitor& visitor) { visit_documents(parts, visitor); });
  before_change();
  if (loss) loss->finish();  // first: tokens without their mask would all be trained
  for (const fs::path& path : paths) put_in_place(path);
  if (!loss) fs::remove(loss_path(prefix));  // of what the source held before
  const auto directory = prefix.parent_path();
  sync_directory(directory.empty() ? fs::path(".") : directory);
}

}  // namespace bessemer::data
