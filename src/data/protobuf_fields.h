// Reads the fields of one protocol-buffer message, in the order in which they stand.
#pragma once

#include <cstdint>
#include <string_view>

namespace bessemer::data {

/// Numbers and bytes of one message. InputError says at which byte it is damaged.
class ProtobufFields {
 public:
  /// `offset` is where `bytes` begins in the file.
  explicit ProtobufFields(std::string_view bytes, std::size_t offset = 0)
      : bytes_(bytes), offset_(offset) {}

  /// Goes to the next field; false at the end.
  bool next();

  std::uint32_t number() const { return number_; }

  // The value of the field; InputError where it is of another type.
  std::uint64_t integer() const;
  bool flag() const { return integer() != 0; }
  float real() const;
  std::string_view text() const;
  ProtobufFields message() const;

 private:
  enum Wire : std::uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  [[noreturn]] void refuse(std::string_view what) const;
  std::uint64_t read_varint();
  std::string_view take(std::uint64_t n);
  void expect(Wire wire) const;

  std::string_view bytes_;
  std::size_t offset_;
  std::size_t at_ = 0;
  std::uint32_t number_ = 0, wire_ = 0;
  std::uint64_t integer_ = 0;
  std::string_view content_;
};

}  // namespace bessemer::data
