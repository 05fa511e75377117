// SIGTERM and SIGINT as a wish: finish the step, save, exit.
#pragma once

namespace bessemer::train {

/// While it lives, the first SIGTERM or SIGINT is remembered; a second one acts as usual (ends the
/// process). One at a time.
class StopRequest {
 public:
  StopRequest();
  ~StopRequest();
  StopRequest(const StopRequest&) = delete;
  StopRequest& operator=(const StopRequest&) = delete;

  bool asked() const;
};

}  // namespace bessemer::train
