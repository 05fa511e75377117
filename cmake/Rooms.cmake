# One static library for each room under src/. Sources are found by name, so adding a file to a
# room needs no change here; which room may use which is src/LAYERS, held by tools/check_layers.

function(bessemer_room name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/${name}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/cuda/(driver|null)/")  # bessemer_cuda_kernels takes one
  if(NOT sources)
    add_library(bessemer_${name} INTERFACE)
    target_include_directories(bessemer_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    target_link_libraries(bessemer_${name} INTERFACE ${ARGN})
    return()
  endif()
  add_library(bessemer_${name} STATIC ${sources})
  target_include_directories(bessemer_${name} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(bessemer_${name} PUBLIC ${ARGN})
endfunction()

# The CUDA kernels of a room, src/NAME/cuda/**: compiled by nvcc, beside what calls the driver; or,
# without CUDA, as plain C++, beside the null device that runs them.
function(bessemer_cuda_kernels name)
  set(folder ${CMAKE_SOURCE_DIR}/src/${name}/cuda)
  file(GLOB kernels CONFIGURE_DEPENDS ${folder}/*.cu)
  if(BESSEMER_CUDA)
    file(GLOB beside CONFIGURE_DEPENDS ${folder}/driver/*.cpp ${folder}/driver/*.cu)
    # cuDNN is not part of the toolkit; where its headers are not, its kernels decline.
    find_path(BESSEMER_CUDNN_INCLUDE cudnn_graph.h HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})
    if(BESSEMER_CUDNN_INCLUDE)
      set(of_cudnn ${BESSEMER_CUDNN_INCLUDE})
    else()
      list(FILTER beside EXCLUDE REGEX "/driver/cudnn")
      list(APPEND beside ${folder}/null/cudnn_attention.cpp)
    endif()
    set_source_files_properties(${beside} PROPERTIES INCLUDE_DIRECTORIES
                                "${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES};${of_cudnn}")
  else()
    file(GLOB beside CONFIGURE_DEPENDS ${folder}/null/*.cpp)
    set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX
                                COMPILE_OPTIONS -Wno-unknown-pragmas)  # unroll
    # What compiles at run time for the null device.
    set_source_files_properties(${folder}/null/jit.cpp PROPERTIES COMPILE_DEFINITIONS
                                BESSEMER_HOST_COMPILER="${CMAKE_CXX_COMPILER}")
  endif()
  target_sources(bessemer_${name} PRIVATE ${kernels} ${beside})
  bessemer_source_as_text(${name} cuda/activations)
  target_link_libraries(bessemer_${name} PRIVATE ${CMAKE_DL_LIBS})
endfunction()

# FILE.cuh of a room, less the lines that begin with #, as text in ROOM/FILE_text.h: for kernels that
# are written at planning. activations -> kActivationsText.
function(bessemer_source_as_text name file)
  set(source ${CMAKE_SOURCE_DIR}/src/${name}/${file}.cuh)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} text)
  string(REGEX REPLACE "\n#[^\n]*" "" text "${text}")
  get_filename_component(constant ${file} NAME)
  string(SUBSTRING ${constant} 0 1 first)
  string(TOUPPER ${first} first)
  string(SUBSTRING ${constant} 1 -1 rest)
  file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/generated/${name}/${file}_text.h @ONLY
       CONTENT "// Made from ${file}.cuh by cmake/Rooms.cmake.
#pragma once

#include <string_view>

inline constexpr std::string_view k${first}${rest}Text = R\"cuda(${text})cuda\";
")
  target_include_directories(bessemer_${name} PRIVATE ${CMAKE_BINARY_DIR}/generated)
endfunction()

# One GoogleTest program for each folder under tests/. Which device CUDA kernels run on is known to
# the tests called cuda_* and to support/cuda_device.cpp; all else compiles alike with and without
# CUDA, and comes out of ccache. With SHARDS n ctest sees n parts of it, to run beside each other.
function(bessemer_tests name)
  cmake_parse_arguments(PARSE_ARGV 1 of "" SHARDS "")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(test_${name} ${sources})
  target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  if(BESSEMER_CUDA)
    file(GLOB of_device CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/cuda_*.cpp)
    set_source_files_properties(${of_device} PROPERTIES COMPILE_DEFINITIONS BESSEMER_CUDA=1)
  endif()
  target_link_libraries(test_${name} PRIVATE ${of_UNPARSED_ARGUMENTS} GTest::gtest_main)
  target_compile_definitions(test_${name} PRIVATE BESSEMER_SOURCE_DIR="${CMAKE_SOURCE_DIR}"
                                                  BESSEMER_BINARY_DIR="${CMAKE_BINARY_DIR}")
  if(NOT of_SHARDS)
    add_test(NAME ${name} COMMAND test_${name})
    return()
  endif()
  foreach(shard RANGE 1 ${of_SHARDS})
    math(EXPR index "${shard} - 1")
    add_test(NAME ${name}_${shard} COMMAND test_${name})
    set_tests_properties(${name}_${shard} PROPERTIES ENVIRONMENT
                         "GTEST_TOTAL_SHARDS=${of_SHARDS};GTEST_SHARD_INDEX=${index}")
  endforeach()
endfunction()
