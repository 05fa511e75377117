#include "plan/plot.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include <fmt/format.h>

#include "plan/report.h"

namespace bessemer::plan {
namespace {

// The drawing, in pixels.
constexpr double kWidth = 1080, kHeight = 560;
constexpr double kLeft = 90, kRight = 850, kTop = 60, kBottom = 480;

// Paul Tol's "muted" scheme, told apart by colour-blind readers too.
constexpr std::array<std::string_view, kTimelineCategories.size()> kColors{
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#BBBBBB"};

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += c;
    }
  }
  return out;
}

std::string label(double x, double y, std::string_view anchor, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", x, y, anchor,
                     escaped(text));
}

std::string line(double x1, double y1, double x2, double y2, std::string_view style) {
  return fmt::format("<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" {}/>\n", x1, y1,
                     x2, y2, style);
}

class Plot {
 public:
  Plot(const std::vector<Moment>& timeline, std::size_t arena_bytes)
      : timeline_(timeline), arena_bytes_(arena_bytes), peak_(peak_of(timeline)) {}

  std::string draw(const std::string& title) const {
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
        "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
        "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n",
        kWidth, kHeight);
    svg += label(kLeft, 24, "start", title);
    for (std::size_t c = 0; c < kTimelineCategories.size(); ++c) svg += area(c);
    svg += axes() + programs() + peak() + legend();
    return svg + "</svg>\n";
  }

 private:
  // An instruction is as wide as any other; moment i begins at x(i) and ends at x(i + 1).
  double x(std::size_t moment) const {
    return kLeft +
           (kRight - kLeft) * static_cast<double>(moment) / static_cast<double>(timeline_.size());
  }
  double y(std::size_t bytes) const {
    const auto most = static_cast<double>(std::max<std::size_t>(arena_bytes_, 1));
    return kBottom - (kBottom - kTop) * static_cast<double>(bytes) / most;
  }

  bool is_used(std::size_t category) const {
    return std::any_of(timeline_.begin(), timeline_.end(),
                       [&](const Moment& m) { return m.bytes[category] > 0; });
  }

  std::size_t stacked(std::size_t moment, std::size_t categories) const {
    std::size_t bytes = 0;
    for (std::size_t c = 0; c < categories; ++c) bytes += timeline_[moment].bytes[c];
    return bytes;
  }

  // The upper edge of the first `categories` areas, in steps; points only where it changes.
  std::vector<std::pair<double, double>> edge(std::size_t categories) const {
    std::vector<std::pair<double, double>> points;
    for (std::size_t i = 0; i < timeline_.size(); ++i) {
      const std::size_t bytes = stacked(i, categories);
      if (i > 0 && bytes == stacked(i - 1, categories)) continue;
      if (i > 0) points.emplace_back(x(i), points.back().second);
      points.emplace_back(x(i), y(bytes));
    }
    points.emplace_back(x(timeline_.size()), points.back().second);
    return points;
  }

  std::string area(std::size_t category) const {
    if (!is_used(category)) return "";
    std::vector<std::pair<double, double>> points = edge(category + 1);
    const auto below = edge(category);
    points.insert(points.end(), below.rbegin(), below.rend());
    std::string text = fmt::format("<polygon data-category=\"{}\" fill=\"{}\" points=\"",
                                   kTimelineCategories[category], kColors[category]);
    for (const auto& [px, py] : points) text += fmt::format("{:.1f},{:.1f} ", px, py);
    text.back() = '"';
    return text + "/>\n";
  }

  std::string axes() const {
    constexpr std::string_view kAxis = "stroke=\"black\"";
    std::string text = line(kLeft, kTop, kLeft, kBottom, kAxis);
    text += line(kLeft, kBottom, kRight, kBottom, kAxis);
    // Ticks at multiples of a power of two: four to eight of them.
    const std::size_t step = std::max<std::size_t>(std::bit_floor(arena_bytes_ / 4), 1);
    for (std::size_t bytes = 0; bytes <= arena_bytes_; bytes += step) {
      text += line(kLeft - 5, y(bytes), kLeft, y(bytes), kAxis);
      text += label(kLeft - 8, y(bytes) + 4, "end", bytes_text(bytes));
    }
    text += line(kLeft, y(arena_bytes_), kRight, y(arena_bytes_),
                 "stroke=\"black\" stroke-dasharray=\"2 3\"");
    text += label(kRight + 4, y(arena_bytes_) + 4, "start", "arena " + bytes_text(arena_bytes_));
    return text + label((kLeft + kRight) / 2, kHeight - 12, "middle",
                        "instructions of a step, in order of execution");
  }

  // Where each program begins, and what it is called.
  std::string programs() const {
    std::string text;
    double lowest_label = kBottom + 16;
    for (std::size_t begin = 0; begin < timeline_.size();) {
      std::size_t end = begin;
      while (end < timeline_.size() && timeline_[end].program == timeline_[begin].program) ++end;
      text += line(x(begin), kBottom, x(begin), lowest_label - 10, "stroke=\"black\"");
      text += label(x(begin) + 2, lowest_label, "start",
                    fmt::format("{} ({})", timeline_[begin].program, end - begin));
      lowest_label += 13;  // one beneath the other: some are short
      begin = end;
    }
    return text;
  }

  std::string peak() const {
    const Moment& moment = timeline_[peak_];
    const double px = (x(peak_) + x(peak_ + 1)) / 2, py = y(moment.sum());
    std::string text = line(px, py, px, kBottom, "stroke=\"black\" stroke-dasharray=\"4 3\"");
    text += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"black\"/>\n", px, py);
    return text + label(kLeft, 44, "start",
                        fmt::format("peak {} ({} bytes) at instruction {} of {}: {}",
                                    bytes_text(moment.sum()), moment.sum(), moment.instruction,
                                    moment.program, moment.what));
  }

  std::string legend() const {
    std::string text = label(kRight + 24, kTop + 40, "start", "at the peak");
    double at = kTop + 60;
    for (std::size_t c = kTimelineCategories.size(); c-- > 0;) {  // as they are stacked
      if (!is_used(c)) continue;
      text += fmt::format("<rect x=\"{}\" y=\"{:.1f}\" width=\"12\" height=\"12\" fill=\"{}\"/>\n",
                          kRight + 24, at - 10, kColors[c]);
      text += label(
          kRight + 42, at, "start",
          fmt::format("{}  {}", kTimelineCategories[c], bytes_text(timeline_[peak_].bytes[c])));
      at += 18;
    }
    return text;
  }

  const std::vector<Moment>& timeline_;
  std::size_t arena_bytes_;
  std::size_t peak_;
};

}  // namespace

std::string memory_svg(const std::vector<Moment>& timeline, std::size_t arena_bytes,
                       const std::string& title) {
  return Plot(timeline, arena_bytes).draw(title);
}

}  // namespace bessemer::plan
