#include "runtime/engine.h"

namespace bessemer::runtime {

void load_kernels(const plan::Plan& plan) {
  for (const plan::Program& program : plan.programs) {
    for (const plan::Instruction& instruction : program.instructions) {
      if (instruction.run != nullptr) instruction.run->load();
    }
  }
}

}  // namespace bessemer::runtime
