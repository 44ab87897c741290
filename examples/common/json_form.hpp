// What JSON must be like, said by a sample of it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace argtape_examples {

// What is not as in `form`: "curve.bound[3] is "x"; need a number". Empty if all is.
//
// A number, a text, true or false stands for its kind; a whole number for such ones from 0 on, null
// for a number or null. An object needs all names of the form's, but for those that end in '?', and
// may have others. A list needs elements like the form's only one, or as many as the form has, each
// like its own. Lists of numbers in one object, with one element in the form, are columns of one
// length.
std::string unlike(const nlohmann::ordered_json& json, const nlohmann::ordered_json& form);

}  // namespace argtape_examples
