// Byte-level BPE: a word is its bytes, which merge.
#include "data/subword_model.h"

#include <array>

#include "base/error.h"
#include "data/merge_rules.h"

namespace bessemer::data {
namespace {

class ByteBpeModel final : public SubwordModel {
 public:
  ByteBpeModel(const TokenizerModel& model, std::shared_ptr<const TokenIndex> index)
      : index_(std::move(index)), ignore_merges_(std::get<ByteBpe>(model.subwords).ignore_merges) {
    for (int byte = 0; byte < 256; ++byte) {
      const char c = static_cast<char>(byte);
      const std::int32_t id = index_->find(std::string_view(&c, 1));
      require_input(id >= 0,
                    "the vocabulary has no token for byte 0x{:02x}; a byte-level tokenizer has one "
                    "for each of the 256",
                    byte);
      byte_id_[static_cast<std::size_t>(byte)] = id;
    }
    const auto symbol_of = [&](std::string_view text) { return index_->find(text); };
    merges_ = model.ranks.empty() ? listed_merges(model, *index_) : ranked_merges(model, symbol_of);
  }

  void encode(std::string_view word, Scratch& scratch,
              std::vector<std::int32_t>& ids) const override {
    const std::int32_t whole = ignore_merges_ ? index_->find(word) : -1;
    if (whole >= 0) return ids.push_back(whole);
    std::vector<std::int32_t>& tokens = scratch.tokens;
    tokens.clear();
    for (const char c : word) tokens.push_back(byte_id_[static_cast<unsigned char>(c)]);
    scratch.merger.merge(merges_, tokens);
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }

 private:
  std::shared_ptr<const TokenIndex> index_;
  bool ignore_merges_;
  std::array<std::int32_t, 256> byte_id_{};
  MergeTable merges_;
};

}  // namespace

std::unique_ptr<SubwordModel> make_byte_bpe(const TokenizerModel& model,
                                            std::shared_ptr<const TokenIndex> index) {
  return std::make_unique<ByteBpeModel>(model, std::move(index));
}

}  // namespace bessemer::data
