#include "models/data/data.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <system_error>

#include "engine/require.hpp"
#include "models/data/source.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr std::size_t digit_classes = 10;

std::string hex(std::uint32_t n) {
  std::string s = "0x";
  for (int shift = 28; shift >= 0; shift -= 4) s += "0123456789abcdef"[(n >> shift) & 15U];
  return s;
}

struct Idx {
  std::vector<std::size_t> lengths;
  std::vector<unsigned char> bytes;
};

/// An IDX file of unsigned bytes with `rank` axes. `kind` is what it should hold.
Idx read_idx_file(const std::string& path, std::size_t rank, const std::string& kind) {
  const std::string need = "an IDX file of " + kind;
  Source source(path, need);

  const std::size_t header_size = 4 + 4 * rank;
  std::vector<unsigned char> header(header_size);
  const std::size_t got = source.read(header.data(), header_size);
  if (got == 0 && !source.cut_short()) fail_data(path + " is empty; need " + need);
  const auto word = [&](std::size_t i) {
    const unsigned char* b = &header[4 * i];
    return std::uint32_t{b[0]} << 24U | std::uint32_t{b[1]} << 16U | std::uint32_t{b[2]} << 8U |
           b[3];
  };
  const std::uint32_t magic = 0x800U + static_cast<std::uint32_t>(rank);
  if (got >= 4 && word(0) != magic)
    fail_data(path + " has the magic number " + hex(word(0)) + "; need " + hex(magic) + ", " +
              need);
  if (got < header_size)
    fail_data(path + " ends after " + std::to_string(got) + " bytes; need a header of " +
              std::to_string(header_size));

  Idx idx;
  std::string lengths;
  std::uint64_t size = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    idx.lengths.push_back(word(1 + axis));
    lengths += (axis ? " x " : "") + std::to_string(idx.lengths.back());
  }
  for (std::size_t axis = 0; axis < rank; ++axis) {
    // 65,535 pixels a side, and 32 bits for the images, keep the product within 64 bits.
    if (idx.lengths[axis] == 0 || (axis > 0 && idx.lengths[axis] > 0xffff))
      fail_data(path + " promises " + lengths + " " + kind + "; need at least 1 on each axis" +
                (rank > 1 ? ", and at most 65535 pixels a side" : ""));
    size *= idx.lengths[axis];
  }

  constexpr std::size_t chunk = 1U << 20U;
  while (idx.bytes.size() < size) {
    const std::size_t before = idx.bytes.size();
    const std::size_t want = std::min<std::uint64_t>(chunk, size - before);
    idx.bytes.resize(before + want);
    const std::size_t came = source.read(idx.bytes.data() + before, want);
    if (came < want)
      fail_data(path + " ends after " + std::to_string(header_size + before + came) +
                " bytes; need " + std::to_string(header_size + size) + ", as its header promises " +
                lengths + " " + kind);
  }
  unsigned char extra = 0;
  if (source.read(&extra, 1) != 0)
    fail_data(path + " goes on after the " + std::to_string(header_size + size) +
              " bytes its header promises; need nothing there");
  source.need_checksum();
  return idx;
}

/// The path of a file in a folder, plain or gzipped; empty if there is neither.
std::string find(const std::string& folder, const std::string& name) {
  for (const char* ending : {"", ".gz"}) {
    const std::string path = (std::filesystem::path(folder) / (name + ending)).string();
    std::error_code ignored;
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return "";
}

// The name of the folder that a file stands in.
std::string folder_of(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path whole = std::filesystem::weakly_canonical(path, ignored);
  return (ignored ? std::filesystem::path(path) : whole).parent_path().filename().string();
}

Dataset joined(const Dataset& a, const Dataset& b) {
  Dataset all = a;
  all.train_size = a.size();
  all.labels.insert(all.labels.end(), b.labels.begin(), b.labels.end());
  all.images = uninitialised({all.size(), a.height * a.width});
  std::copy_n(b.images.data(), b.images.size(),
              std::copy_n(a.images.data(), a.images.size(), all.images.data()));
  return all;
}

std::string image_size(const Dataset& data) {
  return std::to_string(data.height) + " x " + std::to_string(data.width);
}

}  // namespace

Dataset read_digits_csv(const std::string& path) {
  constexpr std::size_t height = 8;
  constexpr std::size_t width = 8;
  constexpr std::size_t pixels = height * width;
  constexpr double brightest = 16;

  Source source(path, "a CSV file of 64 pixels and a label a line");
  Dataset data{folder_of(path), {}, {}, height, width, digit_classes};
  std::vector<Scalar> values;
  for (std::string line; source.line(line);) {
    if (line.empty()) continue;
    const std::vector<std::string> cells = cells_of(line);
    if (cells.size() != pixels + 1)
      fail_data(source.here() + " has " + std::to_string(cells.size()) +
                (cells.size() == 1 ? " cell; need 64" : " cells; need 64") + " pixels and a label");
    const auto column = [&](std::size_t i) {
      return source.here() + ", column " + std::to_string(i + 1) + " is " + shown_cell(cells[i]);
    };
    for (std::size_t i = 0; i < pixels; ++i) {
      const double value = number_in(cells[i]);
      if (!(value >= 0 && value <= brightest))
        fail_data(column(i) + "; need a number from 0 to 16");
      values.push_back(static_cast<Scalar>(value / brightest));
    }
    const double label = number_in(cells[pixels]);
    if (!(label >= 0 && label < digit_classes && label == std::floor(label)))
      fail_data(column(pixels) + "; need a label from 0 to 9");
    data.labels.push_back(static_cast<std::size_t>(label));
  }
  if (source.cut_short())
    fail_data(path + " breaks off after " + std::to_string(data.size()) +
              " rows; need an intact file");
  if (data.labels.empty()) fail_data(path + " is empty; need 64 pixels and a label a line");

  data.images = uninitialised({data.size(), pixels});
  std::copy(values.begin(), values.end(), data.images.data());
  return data;
}

Dataset read_idx(const std::string& images_path, const std::string& labels_path) {
  const Idx images = read_idx_file(images_path, 3, "images");
  const Idx labels = read_idx_file(labels_path, 1, "labels");
  if (images.lengths[0] != labels.lengths[0])
    fail_data(images_path + " holds " + std::to_string(images.lengths[0]) + " images, " +
              labels_path + " " + std::to_string(labels.lengths[0]) +
              " labels; need a label for each image");
  const auto wrong = std::find_if(labels.bytes.begin(), labels.bytes.end(),
                                  [](unsigned char label) { return label >= digit_classes; });
  if (wrong != labels.bytes.end())
    fail_data(labels_path + ", label " + std::to_string(wrong - labels.bytes.begin() + 1) + " is " +
              std::to_string(*wrong) + "; need a label from 0 to 9");

  Dataset data{folder_of(images_path), {}, {}, images.lengths[1], images.lengths[2], digit_classes};
  data.labels.assign(labels.bytes.begin(), labels.bytes.end());
  data.images = uninitialised({data.size(), data.height * data.width});
  std::transform(images.bytes.begin(), images.bytes.end(), data.images.data(),
                 [](unsigned char grey) { return static_cast<Scalar>(grey) / Scalar{255}; });
  return data;
}

Dataset load_digits(const std::string& folder) {
  const std::string need = "; need a folder with MNIST's IDX files or digits.csv, plain or .gz";
  std::error_code ignored;
  if (!std::filesystem::exists(folder, ignored)) fail_data("there is no folder " + folder + need);
  if (!std::filesystem::is_directory(folder, ignored))
    fail_data(folder + " is not a folder" + need);

  std::vector<Dataset> parts;
  for (const std::string part : {"train", "t10k"}) {
    const std::string images_name = part + "-images-idx3-ubyte";
    const std::string labels_name = part + "-labels-idx1-ubyte";
    const std::string images = find(folder, images_name);
    const std::string labels = find(folder, labels_name);
    if (images.empty() && labels.empty()) continue;
    if (images.empty() || labels.empty())
      fail_data(folder + " holds " + (images.empty() ? labels_name : images_name) + "; need " +
                (images.empty() ? images_name : labels_name) + " beside it, plain or .gz");
    parts.push_back(read_idx(images, labels));
  }
  if (parts.size() == 2) {
    if (parts[0].height != parts[1].height || parts[0].width != parts[1].width)
      fail_data(folder + " holds images of " + image_size(parts[0]) + " in train and of " +
                image_size(parts[1]) + " in t10k; need one size");
    return joined(parts[0], parts[1]);
  }
  if (parts.size() == 1) return parts[0];

  const std::string csv = find(folder, "digits.csv");
  if (csv.empty()) fail_data(folder + " holds no digits" + need);
  return read_digits_csv(csv);
}

Dataset take(const Dataset& data, const std::vector<std::size_t>& rows) {
  const std::size_t pixels = data.height * data.width;
  Dataset out{data.name,  uninitialised({rows.size(), pixels}),
              {},         data.height,
              data.width, data.classes,
              0,          data.class_names};
  out.labels.reserve(rows.size());
  Scalar* to = out.images.data();
  for (std::size_t row : rows) {
    if (row >= data.size())
      refuse("data: row ", row, " of ", data.size(), " rows; need rows below ", data.size());
    to = std::copy_n(data.images.data() + row * pixels, pixels, to);
    out.labels.push_back(data.labels[row]);
  }
  return out;
}

Dataset rows_from(const Dataset& data, std::size_t begin, std::size_t count) {
  begin = std::min(begin, data.size());
  std::vector<std::size_t> rows(std::min(count, data.size() - begin));
  std::iota(rows.begin(), rows.end(), begin);
  return take(data, rows);
}

Dataset binarised(Dataset data) {
  for (Scalar& x : data.images) x = x > Scalar(0.5) ? 1 : 0;
  return data;
}

Dataset binarised(Dataset data, Rng& rng) {
  const Tensor u = rng.uniform(data.images.shape());
  for (std::size_t i = 0; i < u.size(); ++i)
    data.images.data()[i] = u.data()[i] < data.images.data()[i] ? 1 : 0;
  return data;
}

std::size_t default_train_size(const Dataset& data) {
  return data.train_size > 0 ? data.train_size : data.size() * 4 / 5;
}

Split split(const Dataset& data, std::size_t train_size) {
  if (train_size == 0 || train_size >= data.size())
    refuse("data: train_size ", train_size, " of ", data.size(),
           " rows; need at least 1 row to train on and 1 to test with");
  return {rows_from(data, 0, train_size), rows_from(data, train_size, data.size()), {}};
}

Split split(const Dataset& data, double validation, double test, Rng& rng) {
  const auto rows_of = [&](double share) {
    return static_cast<std::ptrdiff_t>(share * static_cast<double>(data.size()));
  };
  if (!(validation >= 0 && test >= 0 && validation + test < 1) ||
      (validation > 0 && rows_of(validation) == 0) || (test > 0 && rows_of(test) == 0))
    refuse("data: shares of ", validation, " and ", test, " of ", data.size(),
           " rows to validate and test with; need some row for each, and to train on");
  const std::vector<std::size_t> rows = rng.permutation(data.size());
  const auto trained = rows.end() - rows_of(validation) - rows_of(test),
             tested = rows.end() - rows_of(validation);
  return {take(data, {rows.begin(), trained}), take(data, {trained, tested}),
          take(data, {tested, rows.end()})};
}

Batches::Batches(std::size_t n, std::size_t batch_size, Rng& rng) {
  if (batch_size == 0 || batch_size > n)
    refuse("data: batch_size ", batch_size, " for ", n,
           " rows; need at least 1, and at most as many as there are");
  const std::vector<std::size_t> rows = rng.permutation(n);
  const auto step = static_cast<std::ptrdiff_t>(batch_size);
  for (auto from = rows.begin(); rows.end() - from >= step; from += step)
    batches_.emplace_back(from, from + step);
}

ARGTAPE_END
