// What a tokenizer makes of texts, for tests/peers: a text in hexadecimal a line on standard input,
// a line {"ids": [...], "decoded": "in hexadecimal"} for each on standard output.
//
//   peer_tokens TOKENIZER
//
// With --ids only ids, in binary: each text on standard input has its size, 32 bits, in front; its
// ids, 32 bits each, have their number in front.
//
//   peer_tokens --ids TOKENIZER
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "data/tokenizer_file.h"

namespace {

std::string from_hex(const std::string& line) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < line.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string to_hex(const std::string& bytes) {
  std::string line;
  for (const char c : bytes) line += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return line;
}

using namespace bessemer::data;

void answer_lines(const Tokenizer& tokenizer) {
  Encoder encoder(tokenizer);
  for (std::string line; std::getline(std::cin, line);) {
    std::vector<std::int32_t> ids;
    encoder.encode(from_hex(line), AddedTokens::as_ids, ids);
    std::cout << fmt::format("{{\"ids\": [{}], \"decoded\": \"{}\"}}\n", fmt::join(ids, ", "),
                             to_hex(tokenizer.decode(ids)));
  }
}

void answer_in_binary(const Tokenizer& tokenizer) {
  Encoder encoder(tokenizer);
  std::string text;
  std::vector<std::int32_t> ids;
  std::uint32_t size = 0;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    text.resize(size);
    if (std::fread(text.data(), 1, size, stdin) != size) return;
    ids.clear();
    encoder.encode(text, AddedTokens::as_ids, ids);
    const auto count = static_cast<std::uint32_t>(ids.size());
    std::fwrite(&count, sizeof count, 1, stdout);
    std::fwrite(ids.data(), sizeof ids[0], ids.size(), stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const bool binary = argc == 3 && std::string_view(argv[1]) == "--ids";
  if (argc != 2 && !binary) {
    std::cerr << "usage: peer_tokens [--ids] TOKENIZER\n";
    return 2;
  }
  try {
    const Tokenizer tokenizer = load_tokenizer(argv[argc - 1]);
    binary ? answer_in_binary(tokenizer) : answer_lines(tokenizer);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
