# CUDA as a language, for the preset `cuda`: machine code for the devices that the kernels are tuned
# for, sm_80 and sm_90a, and PTX of compute_90 for those that come after them.
#
# Only the CUDA runtime is linked, statically. The driver, cuBLASLt, cuDNN, NCCL and NVRTC are opened
# on first use, so that the program starts where none of them is installed.

set(BESSEMER_OLDEST_CUDA 12.1)  # sm_90a, C++20, kernel parameters above 4 KiB

find_program(BESSEMER_NVCC nvcc HINTS $ENV{CUDA_PATH} $ENV{CUDA_HOME} /usr/local/cuda
             PATH_SUFFIXES bin)
if(DEFINED ENV{CUDACXX})
  set(BESSEMER_NVCC $ENV{CUDACXX})
endif()
set(how_to_go_on
    "Install the CUDA toolkit, ${BESSEMER_OLDEST_CUDA} or newer "
    "(https://developer.nvidia.com/cuda-downloads), or name its compiler: "
    "CUDACXX=/path/to/nvcc make cuda. `make build` builds Bessemer without CUDA.")
if(NOT BESSEMER_NVCC)
  message(FATAL_ERROR "The preset cuda needs nvcc, which is neither in PATH nor in "
                      "/usr/local/cuda/bin. " ${how_to_go_on})
endif()
execute_process(COMMAND ${BESSEMER_NVCC} --version OUTPUT_VARIABLE said ERROR_VARIABLE said
                RESULT_VARIABLE status)
string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" release "${said}")
set(release ${CMAKE_MATCH_1})
if(NOT status EQUAL 0 OR NOT release)
  message(FATAL_ERROR "${BESSEMER_NVCC} --version does not answer as nvcc does. " ${how_to_go_on})
endif()
if(release VERSION_LESS BESSEMER_OLDEST_CUDA)
  message(FATAL_ERROR "${BESSEMER_NVCC} is CUDA ${release}, which is too old. " ${how_to_go_on})
endif()

set(CMAKE_CUDA_COMPILER ${BESSEMER_NVCC})
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)  # which CMake before 3.26 does not know
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
# constexpr functions of the base room run on the device too; fmt's test for constexpr is one that
# nvcc's front end fails. OpenMP, because base/parallel.h must mean the same in every file.
set(flags --expt-relaxed-constexpr -DFMT_USE_CONSTEXPR=1 -Xcompiler=-Wall,-Wextra,-fopenmp)
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:${flags}>")
