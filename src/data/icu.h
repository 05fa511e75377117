// What the files that call ICU share.
#pragma once

#include <unicode/utypes.h>

#include "base/error.h"

namespace bessemer::data {

inline void check(UErrorCode code) {
  if (U_FAILURE(code)) fail("ICU: {}", u_errorName(code));
}

}  // namespace bessemer::data
