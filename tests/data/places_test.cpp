#include "data/places.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/data_directory.h"

namespace bessemer::data {
namespace {

TEST(Places, ComeBack) {
  const DataDirectory directory;
  const auto prefix = directory.path() / "name";
  write_places(prefix, {{0, 0}, {17, 0}, {0, 1}, {1ull << 40, 3}});
  const Places places(prefix);
  ASSERT_EQ(places.documents(), 4u);
  EXPECT_EQ(places(1).offset, 17u);
  EXPECT_EQ(places(2).file, 1u);
  EXPECT_EQ(places(3).offset, 1ull << 40);
  EXPECT_EQ(places(3).file, 3u);
  EXPECT_THROW(places(4), InputError);
}

TEST(Places, BrokenFilesAreRefused) {
  const DataDirectory directory;
  const auto prefix = directory.path() / "name";
  EXPECT_THROW(Places{prefix}, InputError);
  for (const char* bytes : {"", "BSMPLAC", "BSMPLACE1234567890", "XXXXXXXX"}) {
    directory.write("name.places", bytes);
    EXPECT_THROW(Places{prefix}, InputError) << bytes;
  }
}

}  // namespace
}  // namespace bessemer::data
