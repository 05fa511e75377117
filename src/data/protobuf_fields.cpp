#include "data/protobuf_fields.h"

#include <cstring>

#include "base/error.h"

namespace bessemer::data {

void ProtobufFields::refuse(std::string_view what) const {
  fail_input("byte {}: {}; fetch the file again", offset_ + at_, what);
}

std::uint64_t ProtobufFields::read_varint() {
  std::uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (at_ == bytes_.size()) refuse("the file ends inside a number");
    const auto byte = static_cast<unsigned char>(bytes_[at_++]);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  refuse("a number of more than ten bytes");
}

std::string_view ProtobufFields::take(std::uint64_t n) {
  if (n > bytes_.size() - at_) refuse("a field reaches over the end");
  const std::string_view out = bytes_.substr(at_, n);
  at_ += n;
  return out;
}

bool ProtobufFields::next() {
  if (at_ == bytes_.size()) return false;
  const std::uint64_t tag = read_varint();
  number_ = static_cast<std::uint32_t>(tag >> 3);
  wire_ = static_cast<std::uint32_t>(tag & 7);
  if (tag >> 3 == 0 || tag >> 32 != 0) refuse("no field has this number");
  switch (wire_) {
    case kVarint: integer_ = read_varint(); break;
    case kFixed64: content_ = take(8); break;
    case kFixed32: content_ = take(4); break;
    case kBytes: content_ = take(read_varint()); break;
    default: refuse("a field of an unknown type");
  }
  return true;
}

void ProtobufFields::expect(Wire wire) const {
  if (wire_ != wire) refuse(fmt::format("field {} has another type than expected", number_));
}

std::uint64_t ProtobufFields::integer() const {
  expect(kVarint);
  return integer_;
}

float ProtobufFields::real() const {
  expect(kFixed32);
  float value = 0;
  std::memcpy(&value, content_.data(), sizeof value);
  return value;
}

std::string_view ProtobufFields::text() const {
  expect(kBytes);
  return content_;
}

ProtobufFields ProtobufFields::message() const {
  return ProtobufFields(text(), offset_ + at_ - content_.size());
}

}  // namespace bessemer::data
