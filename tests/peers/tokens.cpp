// What a tokenizer makes of texts, for tests/peers: a text in hexadecimal a line on standard input,
// a line {"ids": [...], "decoded": "in hexadecimal"} for each on standard output.
//
//   peer_tokens TOKENIZER
#include <cstdio>
#include <iostream>
#include <string>

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

}  // namespace

int main(int argc, char** argv) {
  using namespace bessemer::data;
  if (argc != 2) {
    std::cerr << "usage: peer_tokens TOKENIZER\n";
    return 2;
  }
  try {
    const Tokenizer tokenizer = load_tokenizer(argv[1]);
    Encoder encoder(tokenizer);
    for (std::string line; std::getline(std::cin, line);) {
      std::vector<std::int32_t> ids;
      encoder.encode(from_hex(line), AddedTokens::as_ids, ids);
      std::cout << fmt::format("{{\"ids\": [{}], \"decoded\": \"{}\"}}\n", fmt::join(ids, ", "),
                               to_hex(tokenizer.decode(ids)));
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
