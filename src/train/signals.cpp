#include "train/signals.h"

#include <csignal>

namespace bessemer::train {
namespace {

volatile std::sig_atomic_t g_asked = 0;  // all that a handler may touch

void remember(int signal) {
  g_asked = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

StopRequest::StopRequest() {
  g_asked = 0;
  std::signal(SIGTERM, remember);
  std::signal(SIGINT, remember);
}

StopRequest::~StopRequest() {
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
}

bool StopRequest::asked() const { return g_asked != 0; }

}  // namespace bessemer::train
