#include "data/document_encoder.h"

namespace bessemer::data {

void DocumentEncoder::encode(std::string_view text, const std::vector<TextSpan>& spans,
                             AddedTokens added, EncodedDocument& out) {
  out.ids.clear();
  out.trained.clear();
  if (spans.empty()) return encoder_.encode(text, added, out.ids);
  for (const TextSpan& span : spans) {
    const std::string_view part = text.substr(0, span.bytes);
    text.remove_prefix(part.size());
    span.frame ? add_frame(part, span.trained, out) : add_text(part, span.trained);
  }
  flush(out);
}

void DocumentEncoder::add_frame(std::string_view text, bool trained, EncodedDocument& out) {
  while (!text.empty()) {
    const auto [at, marker] = find_marker(text);
    add_text(text.substr(0, at), trained);
    if (marker == nullptr) return;
    flush(out);
    out.ids.push_back(marker->id);
    out.trained.push_back(trained ? 1 : 0);
    text.remove_prefix(at + marker->content.size());
  }
}

void DocumentEncoder::add_text(std::string_view text, bool trained) {
  if (text.empty()) return;
  run_ += text;
  ends_.emplace_back(run_.size(), trained);
}

/// The added token that begins first, of several the longest, and where.
std::pair<std::size_t, const AddedToken*> DocumentEncoder::find_marker(
    std::string_view text) const {
  std::pair<std::size_t, const AddedToken*> first{text.size(), nullptr};
  for (const AddedToken& token : tokenizer_->model().added) {
    const std::size_t at = text.find(token.content);
    if (at == text.npos || at > first.first) continue;
    const bool longer = first.second == nullptr || at < first.first ||
                        token.content.size() > first.second->content.size();
    if (longer) first = {at, &token};
  }
  return first;
}

void DocumentEncoder::flush(EncodedDocument& out) {
  if (run_.empty()) return;
  const std::size_t first = out.ids.size();
  encoder_.encode(run_, AddedTokens::as_text, out.ids);
  std::size_t bytes = 0;
  for (std::size_t i = first; i < out.ids.size(); ++i) {
    bytes += tokenizer_->token_bytes(out.ids[i]).size();
  }
  if (bytes != run_.size()) {  // a normalizer changed the text: tokens have no places in it
    out.ids.resize(first);
    flush_in_parts(out);
  } else {
    std::size_t part = 0, begin = 0;
    for (std::size_t i = first; i < out.ids.size(); ++i) {
      const std::size_t end = begin + tokenizer_->token_bytes(out.ids[i]).size();
      bool trained = ends_[part].second;
      for (; ends_[part].first < end; ++part) trained = trained || ends_[part + 1].second;
      if (ends_[part].first == end && part + 1 < ends_.size()) ++part;
      out.trained.push_back(trained ? 1 : 0);
      begin = end;
    }
  }
  run_.clear();
  ends_.clear();
}

/// Each part on its own: then the tokens of each are known, whatever they are.
void DocumentEncoder::flush_in_parts(EncodedDocument& out) {
  std::size_t begin = 0;
  for (const auto& [end, trained] : ends_) {
    encoder_.encode(std::string_view(run_).substr(begin, end - begin), AddedTokens::as_text,
                    out.ids);
    out.trained.resize(out.ids.size(), trained ? 1 : 0);
    begin = end;
  }
}

}  // namespace bessemer::data
