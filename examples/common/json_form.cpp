#include "examples/common/json_form.hpp"

#include <optional>

namespace argtape_examples {

using Json = nlohmann::ordered_json;

namespace {

std::string kind_of(const Json& form) {
  if (form.is_null()) return "a number or null";
  if (form.is_number()) return form.is_number_integer() ? "a whole number" : "a number";
  if (form.is_string()) return "a text";
  if (form.is_boolean()) return "true or false";
  return form.is_array() ? "a list" : "an object";
}

bool same_kind(const Json& json, const Json& form) {
  if (form.is_null()) return json.is_null() || json.is_number();
  if (form.is_number_integer()) return json.is_number_unsigned();
  return form.is_number() ? json.is_number() : json.type() == form.type();
}

std::string shown(const Json& json) {
  constexpr std::size_t kLongest = 40;
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > kLongest ? text.substr(0, kLongest) + "..." : text;
}

bool is_column(const Json& form) {
  return form.is_array() && form.size() == 1 && (form[0].is_number() || form[0].is_null());
}

std::string wrong_length(const std::string& name, const Json& list, std::size_t need) {
  return name + " has " + std::to_string(list.size()) + " elements; need " + std::to_string(need);
}

// `name` is what leads to it.
std::string compare(const Json& json, const Json& form, const std::string& name) {
  const std::string it = name.empty() ? "it" : name;
  if (!same_kind(json, form)) return it + " is " + shown(json) + "; need " + kind_of(form);
  std::string words;
  if (form.is_array()) {
    if (form.size() > 1 && json.size() != form.size()) return wrong_length(it, json, form.size());
    for (std::size_t i = 0; i < json.size() && !form.empty() && words.empty(); ++i)
      words = compare(json[i], form[form.size() > 1 ? i : 0], it + "[" + std::to_string(i) + "]");
  }
  if (!form.is_object()) return words;
  std::optional<std::size_t> length;  // of the columns
  for (const auto& [key, like] : form.items()) {
    const bool needed = key.back() != '?';
    const std::string plain = needed ? key : key.substr(0, key.size() - 1);
    if (!json.contains(plain)) {
      if (needed) return it + " has no " + plain + "; need " + kind_of(like);
      continue;
    }
    const Json& value = json.at(plain);
    const std::string inner = name.empty() ? plain : name + "." + plain;
    words = compare(value, like, inner);
    if (words.empty() && is_column(like) && value.size() != length.value_or(value.size()))
      words = wrong_length(inner, value, *length) + ", as the lists beside it";
    if (!words.empty()) return words;
    if (is_column(like)) length = value.size();
  }
  return "";
}

}  // namespace

std::string unlike(const Json& json, const Json& form) { return compare(json, form, ""); }

}  // namespace argtape_examples
