#include "passes/schedule_fetches.h"

#include <algorithm>
#include <deque>
#include <limits>

#include "cost/node_seconds.h"
#include "ops/movement.h"
#include "ops/op.h"

namespace bessemer::passes {
namespace {

using ir::kAbsent;
using ir::Tier;

struct Fetch {
  std::size_t at = 0;    // where it stands
  std::size_t need = 0;  // its first use
  std::size_t to = 0;    // before which node it is to stand
  std::size_t bytes = 0;
  double seconds = 0;
};

bool is_fetch(const ir::Graph& graph, const ir::Node& node) {
  return node.op == "fetch" && graph.tier(node.operands[0]) != Tier::device;
}

bool is_store(const ir::Graph& graph, const ir::Node& node) {
  return node.op == "store" && graph.tier(node.results[0]) != Tier::device;
}

// When each node starts, by the clock of the arithmetic alone.
std::vector<double> start_times(const ir::Graph& graph, const cost::MachineDescription& machine) {
  std::vector<double> starts;
  double now = 0;
  for (const ir::Node& node : graph.nodes()) {
    starts.push_back(now);
    const bool beside = is_fetch(graph, node) || is_store(graph, node);
    if (!beside) now += cost::node_seconds(graph, node, machine);
  }
  return starts;
}

std::vector<Fetch> fetches_of(const ir::Graph& graph, const cost::MachineDescription& machine) {
  const auto used_by = ir::users(graph);
  std::vector<Fetch> fetches;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    const ir::Node& node = graph.nodes()[i];
    if (!is_fetch(graph, node)) continue;
    const auto& users = used_by[static_cast<std::size_t>(node.results[0])];
    const std::size_t need =
        users.empty() ? graph.nodes().size() : static_cast<std::size_t>(users.front());
    fetches.push_back({i, need, i, graph.type(node.results[0]).bytes(),
                       cost::node_seconds(graph, node, machine)});
  }
  return fetches;
}

// The latest places at which they all are done when needed, if the link takes one after the other.
void place_by_time(std::vector<Fetch>& fetches, const std::vector<double>& starts) {
  double next = std::numeric_limits<double>::infinity();
  for (std::size_t k = fetches.size(); k-- > 0;) {
    Fetch& fetch = fetches[k];
    const double need = fetch.need < starts.size() ? starts[fetch.need] : starts.back();
    next = std::min(need, next) - fetch.seconds;
    const auto after = std::upper_bound(starts.begin(), starts.end(), next);
    const auto place = static_cast<std::size_t>(after - starts.begin());
    fetch.to = std::min(fetch.at, place == 0 ? 0 : place - 1);
  }
}

// Not before what is fetched is there, nor before the fetch ahead, nor while too many bytes wait.
void hold_back(std::vector<Fetch>& fetches, const ir::Graph& graph, std::size_t ahead) {
  const std::vector<int> made_by = ir::producers(graph);
  std::deque<const Fetch*> waiting;
  std::size_t bytes = 0, earliest = 0;
  for (Fetch& fetch : fetches) {
    const int made = made_by[static_cast<std::size_t>(graph.nodes()[fetch.at].operands[0])];
    earliest = std::max(earliest, static_cast<std::size_t>(made + 1));
    while (!waiting.empty() && (waiting.front()->need < fetch.to || bytes + fetch.bytes > ahead)) {
      earliest = std::max(earliest, bytes + fetch.bytes > ahead ? waiting.front()->need + 1 : 0);
      bytes -= waiting.front()->bytes;
      waiting.pop_front();
    }
    fetch.to = std::min(fetch.at, std::max(fetch.to, earliest));
    earliest = fetch.to;
    waiting.push_back(&fetch);
    bytes += fetch.bytes;
  }
}

}  // namespace

ir::Graph schedule_fetches(ir::Graph graph, std::size_t ahead,
                           const cost::MachineDescription& machine) {
  std::vector<Fetch> fetches = fetches_of(graph, machine);
  if (fetches.empty()) return graph;
  place_by_time(fetches, start_times(graph, machine));
  hold_back(fetches, graph, ahead);
  std::vector<ir::Node> nodes;
  nodes.reserve(graph.nodes().size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (; next < fetches.size() && fetches[next].to <= i; ++next) {
      nodes.push_back(graph.nodes()[fetches[next].at]);
    }
    if (!is_fetch(graph, graph.nodes()[i])) nodes.push_back(graph.nodes()[i]);
  }
  graph.nodes() = std::move(nodes);
  return graph;
}

}  // namespace bessemer::passes
