#include "models/data/numpy_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "engine/require.hpp"
#include "models/data/counted.hpp"
#include "models/data/source.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

constexpr char kMagic[] = "\x93NUMPY";

struct NumpyHeader {
  Element element{Element::real, 0};
  bool fortran = false, big_endian = false;
  std::vector<std::uint64_t> shape;
  std::string shape_text;
};

// What stands after 'key': in the header, a Python dictionary as text.
std::string value_of(const std::string& header, const std::string& key) {
  const std::size_t at = header.find("'" + key + "'");
  if (at == std::string::npos) return "";
  const std::size_t colon = header.find_first_not_of(" ", at + key.size() + 2);
  if (colon == std::string::npos || header[colon] != ':') return "";
  const std::size_t from = header.find_first_not_of(" ", colon + 1);
  return from == std::string::npos ? "" : header.substr(from);
}

// (3, 4) or (3,) as numbers, (3L, 4L) as Python 2 wrote them; false for anything else.
bool parse_shape(const std::string& text, NumpyHeader& h) {
  const std::size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string::npos) return false;
  h.shape_text = text.substr(0, end + 1);
  std::vector<std::string> cells = cells_of(text.substr(1, end - 1));
  for (std::string& cell : cells) {
    cell.erase(0, cell.find_first_not_of(' '));
    cell.erase(cell.find_last_not_of(' ') + 1);
    if (cell.size() > 1 && cell.back() == 'L') cell.pop_back();
  }
  // In Python a tuple of one has a comma behind it, and any may have.
  if (cells.back().empty())
    cells.pop_back();
  else if (cells.size() == 1)
    return false;
  for (const std::string& cell : cells) {
    std::uint64_t length = 0;
    const auto [stop, error] = std::from_chars(cell.data(), cell.data() + cell.size(), length);
    if (error != std::errc() || stop != cell.data() + cell.size()) return false;
    h.shape.push_back(length);
  }
  return true;
}

// An element as NumPy's headers have it, behind the order of its bytes: "f4". It knows no bfloat16.
std::string descr_of(Element element) {
  return std::string(1, element.kind) + std::to_string(element.size);
}

// For a type that is none of kElements.
[[noreturn]] void refuse_type(const std::string& label, const std::string& type) {
  const char kind = type.size() > 1 ? type[1] : type[0];
  const bool texts = kind == 'U' || kind == 'S', objects = kind == 'O';
  refuse<std::runtime_error>(
      label, " holds ",
      texts     ? "texts, "
      : objects ? "Python objects, "
                : "",
      type[0] == '[' ? "structures" : "the type " + shown_cell(type),
      "; need float16, float32, float64, integers or bool",
      texts || objects ? ", such as np.unique(x, return_inverse=True)[1] makes of texts" : "");
}

NumpyHeader parse_header(const std::string& label, const std::string& text) {
  NumpyHeader h;
  const std::string type = value_of(text, "descr"), fortran = value_of(text, "fortran_order"),
                    shape = value_of(text, "shape");
  const bool order = fortran.compare(0, 4, "True") == 0 || fortran.compare(0, 5, "False") == 0;
  if (type.empty() || !order || !parse_shape(shape, h))
    refuse<std::runtime_error>(
        label, " has a damaged NumPy header; need one with descr, fortran_order and shape");
  h.fortran = fortran[0] == 'T';
  const std::size_t quote = type.find('\'', 1);
  const std::string name =
      type[0] == '\'' && quote != std::string::npos ? type.substr(1, quote - 1) : type.substr(0, 1);
  const auto known = std::find_if(kElements.begin(), kElements.end(), [&](const ElementName& e) {
    return e.element.kind != Element::brain && !name.empty() &&
           name.substr(1) == descr_of(e.element);
  });
  if (known == kElements.end() || std::string("<>=|").find(name[0]) == std::string::npos ||
      (name[0] == '|' && known->element.size > 1))
    refuse_type(label, name);
  h.element = known->element;
  h.big_endian = name[0] == '>';
  return h;
}

// Numbers in the order of Fortran, where the first axis runs fastest, in that of C.
std::string in_c_order(const char* from, const Shape& shape, std::size_t each) {
  std::string to(size_of(shape) * each, '\0');
  Shape at = shape;
  std::fill(at.begin(), at.end(), 0);
  for (std::size_t c = 0; c < to.size(); c += each) {
    std::size_t f = 0;
    for (std::size_t axis = shape.size(); axis-- > 0;) f = f * shape[axis] + at[axis];
    std::memcpy(&to[c], from + f * each, each);
    for (std::size_t axis = shape.size(); axis-- > 0 && ++at[axis] == shape[axis];) at[axis] = 0;
  }
  return to;
}

// The header, and how many bytes there were up to its end.
std::pair<NumpyHeader, std::uint64_t> read_header(const ReadBytes& read, const std::string& label) {
  char head[12] = {};
  std::size_t got = read(head, 8);
  const auto ends_early = [&](std::size_t after, std::uint64_t size, const std::string& why) {
    refuse<std::runtime_error>(label, " ends after ", counted(after, "byte"), "; need ", size, ", ",
                               why);
  };
  require<std::runtime_error>(std::memcmp(head, kMagic, 6) == 0, label,
                              " begins as no NumPy file does; need one");
  const unsigned version = static_cast<unsigned char>(head[6]);
  require<std::runtime_error>(got < 8 || (version >= 1 && version <= 3), label,
                              " has NumPy's format version ", version, "; need 1 to 3");
  const std::size_t width = got < 8 || version == 1 ? 2 : 4;  // of the header's length
  if (got == 8) got += read(head + 8, width);
  if (got < 8 + width) ends_early(got, 8 + width, "the least a NumPy file has");
  const std::uint64_t length = word_at(head + 8, {Element::natural, width});
  constexpr std::uint64_t longest = 1U << 20U;
  require<std::runtime_error>(length <= longest, label, " promises a header of ", length,
                              " bytes; need at most ", longest);
  std::string text(length, '\0');
  got = read(text.data(), length);
  if (got < length) ends_early(8 + width + got, 8 + width + length, "for its header");
  return {parse_header(label, text), 8 + width + length};
}

}  // namespace

void read_numpy(const ReadBytes& read, const std::string& label, const std::string& name,
                Arrays& to) {
  const auto [h, begin] = read_header(read, label);
  const std::uint64_t size = bytes_of(label, h.shape, h.element);
  const std::size_t first = to.bytes.size();
  constexpr std::uint64_t kAtOnce = 1U << 20U;
  for (std::uint64_t done = 0; done < size;) {
    const std::size_t want = std::min(kAtOnce, size - done);
    to.bytes.resize(first + done + want);
    const std::size_t came = read(&to.bytes[first + done], want);
    done += came;
    if (came < want)
      refuse<std::runtime_error>(label, " ends after ", begin + done, " bytes; need ", begin + size,
                                 ", as its header promises the shape ", h.shape_text);
  }
  char extra = 0;
  require<std::runtime_error>(read(&extra, 1) == 0, label, " goes on after the ", begin + size,
                              " bytes its header promises; need nothing there");
  if (h.big_endian)
    for (std::size_t i = first; i < to.bytes.size(); i += h.element.size)
      std::reverse(&to.bytes[i], &to.bytes[i] + h.element.size);
  const Shape shape(h.shape.begin(), h.shape.end());
  if (h.fortran) to.bytes.replace(first, size, in_c_order(&to.bytes[first], shape, h.element.size));
  to.list.push_back({name, h.element, shape, first});
}

std::string numpy_header(const Array& array) {
  std::string text = std::string("{'descr': '") + (array.element.size > 1 ? '<' : '|') +
                     descr_of(array.element) +
                     "', 'fortran_order': False, 'shape': " + str(array.shape) + ", }";
  text.resize((10 + text.size()) / 64 * 64 + 64 - 11,
              ' ');  // the numbers begin at a multiple of 64
  text += '\n';
  const char length[] = {static_cast<char>(text.size()), static_cast<char>(text.size() >> 8U)};
  return std::string(kMagic, 6) + '\x01' + '\0' + std::string(length, 2) + text;
}

ARGTAPE_END
