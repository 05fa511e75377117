#include "kernels/cuda/product_table.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/file.h"
#include "base/temporary_directory.h"

namespace bessemer::kernels::cuda {
namespace {

const ProductAlgorithm kOne{1, 2, 3, 4, 5, 6, 7, 0xffffffffffffffff};
const ProductAlgorithm kOther{8, 7, 6, 5, 4, 3, 2, 1};

TEST(ProductKey, TellsProductsApart) {
  const ProductSpec plain{.m = 2048, .n = 3072, .k = 768};
  EXPECT_EQ(product_key("device", "library", plain),
            "device; library; bf16 2048x3072x768 nn -> bf16");
  std::vector<ProductSpec> specs(19, plain);
  specs[1].m = 1;
  specs[2].batch = 12;
  specs[3].transpose_a = true;
  specs[4].transpose_b = true;
  specs[5].result = DType::fp32;
  specs[6].bias = true;
  specs[7].addend = true;
  specs[8].activation = ProductSpec::Activation::gelu_tanh;
  specs[9].a_row = 4096;
  specs[10].result_row = 4096;
  specs[11].a = specs[11].b = DType::fp32;
  specs[12] = specs[11];
  specs[12].tf32 = true;
  specs[18].row_sums = true;
  for (std::size_t i = 13; i < 18; ++i) specs[i].a = specs[i].b = DType::fp8_e4m3;
  specs[14].b = DType::fp8_e5m2;
  specs[15].block_a = specs[15].block_b = Fp8Block::row;
  specs[16].block_a = Fp8Block::row, specs[16].block_b = Fp8Block::square;
  specs[17].block_a = Fp8Block::square, specs[17].block_b = Fp8Block::row;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      EXPECT_NE(product_key("d", "l", specs[i]), product_key("d", "l", specs[j])) << i << " " << j;
    }
  }
  EXPECT_NE(product_key("d", "l", plain), product_key("e", "l", plain));
  EXPECT_NE(product_key("d", "l", plain), product_key("d", "m", plain));
}

TEST(ProductChoices, SurviveTheirText) {
  const ProductChoices choices{{"a product", kOne}, {"another", kOther}};
  EXPECT_EQ(parse_product_choices(to_text(choices)), choices);
  EXPECT_EQ(to_text({{"k", kOne}}), "k\t1 2 3 4 5 6 7 ffffffffffffffff\n");
}

TEST(ProductChoices, LeaveBrokenLinesOut) {
  const std::string good = to_text({{"good", kOne}});
  const ProductChoices expected{{"good", kOne}};
  for (const std::string_view broken :
       {"\n", "no tab 1 2 3 4 5 6 7 8\n", "few\t1 2 3\n", "many\t1 2 3 4 5 6 7 8 9\n",
        "\t1 2 3 4 5 6 7 8\n", "word\t1 2 x 4 5 6 7 8\n", "gap\t1 2  4 5 6 7 8\n",
        "large\t1ffffffffffffffff 2 3 4 5 6 7 8\n", "negative\t-1 2 3 4 5 6 7 8\n"}) {
    EXPECT_EQ(parse_product_choices(std::string(broken) + good), expected) << broken;
    EXPECT_EQ(parse_product_choices(good + std::string(broken)), expected) << broken;
  }
  EXPECT_EQ(parse_product_choices(good + "torn\t1 2 3"), expected);
}

TEST(FastestProduct, IsAnEarlierOneUnlessALaterIsClearlyFaster) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  EXPECT_EQ(fastest(std::vector<double>{1}), 0u);
  EXPECT_EQ(fastest(std::vector<double>{1, 0.99}), 0u);
  EXPECT_EQ(fastest(std::vector<double>{1, 0.9, 0.89}), 1u);
  EXPECT_EQ(fastest(std::vector<double>{kNever, 5, kNever, 3}), 3u);
}

TEST(ProductTable, KeepsChoicesForTheNextProcess) {
  const TemporaryDirectory directory;
  ProductTable first, second;
  first.keep_in(directory.path());
  EXPECT_FALSE(first.find("k"));
  EXPECT_EQ(first.keep("k", kOne), kOne);
  EXPECT_EQ(first.find("k"), kOne);
  second.keep_in(directory.path());
  EXPECT_EQ(second.find("k"), kOne);
}

TEST(ProductTable, TakesWhatAnotherProcessKeptMeanwhile) {
  const TemporaryDirectory directory;
  ProductTable first, second;
  first.keep_in(directory.path());
  second.keep_in(directory.path());
  EXPECT_EQ(first.keep("k", kOne), kOne);
  EXPECT_EQ(second.keep("k", kOther), kOne);
  EXPECT_EQ(second.keep("l", kOther), kOther);
  EXPECT_EQ(first.keep("l", kOne), kOther);
}

TEST(ProductTable, ReplacesAChoiceThatDoesNotWork) {
  const TemporaryDirectory directory;
  ProductTable first, second, third;
  first.keep_in(directory.path());
  first.keep("k", kOne);
  second.keep_in(directory.path());
  EXPECT_EQ(second.keep("k", kOther, kOne), kOther);
  EXPECT_EQ(first.keep("k", {}, kOne), kOther) << "replaced by another process meanwhile";
  third.keep_in(directory.path());
  EXPECT_EQ(third.find("k"), kOther);
}

TEST(ProductTable, WorksWithoutAFile) {
  ProductTable table;
  EXPECT_EQ(table.keep("k", kOne), kOne);
  EXPECT_EQ(table.keep("k", kOther), kOne);
  const TemporaryDirectory directory;
  ProductTable lost;
  lost.keep_in(directory.path() / "not there");
  EXPECT_EQ(lost.keep("k", kOne), kOne);
  EXPECT_EQ(lost.find("k"), kOne);
}

}  // namespace
}  // namespace bessemer::kernels::cuda
