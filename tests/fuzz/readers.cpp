// The readers of files, and the programs' flags: whatever the bytes are they are read, or refused
// in words by the documented error; and what was read reads the same again.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>

#include "examples/common/program.hpp"
#include "models/argtape.hpp"
#include "tests/fuzz/target.hpp"

using namespace argtape;

namespace {

// A file that is in memory alone.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : file_(memfd_create("fuzz", 0)) {
    const auto size = static_cast<ssize_t>(bytes.size());
    if (file_ < 0 || write(file_, bytes.data(), bytes.size()) != size)
      throw std::logic_error("no file in memory");
  }
  ~MemoryFile() { close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

// The end of every message: what went wrong, and what is needed.
std::string fault_of(const std::string& words, const std::string& begins) {
  const bool fine =
      words.compare(0, begins.size(), begins) == 0 &&
      std::all_of(words.begin(), words.end(), [](unsigned char c) { return c >= ' '; });
  return fine ? "" : "it is refused by '" + words + "'";
}

// What a reader made of a file: numbers, or words.
struct Outcome {
  Tensor numbers;
  std::string refused;
  bool operator==(const Outcome& b) const {
    return refused == b.refused && identical(numbers, b.numbers);
  }
};
template <class Read>
Outcome outcome(const std::string& bytes, Read read) {
  const MemoryFile file(bytes);
  try {
    return {read(file.path()), ""};
  } catch (const std::runtime_error& error) {
    return {{}, error.what()};
  }
}

Tensor images_of(const Dataset& data) {
  if (data.images.shape()[0] != data.labels.size()) throw std::logic_error("labels are missing");
  for (std::size_t label : data.labels)
    if (label >= data.classes) throw std::logic_error("a label is out of range");
  return data.images;
}
Tensor points_in(const std::string& path) { return read_points(path); }
Tensor table_in(const std::string& path) { return images_of(read_table(path)); }
Tensor named_table_in(const std::string& path) { return images_of(read_table(path, "y")); }
Tensor digits_in(const std::string& path) { return images_of(read_digits_csv(path)); }

// Every reader gives finite numbers, or refuses in a line of words; `also`, bytes that mean the
// same, fares alike.
std::string tables_fault(const std::string& bytes, const std::string& also) {
  for (const auto read : {points_in, table_in, named_table_in, digits_in}) {
    const Outcome one = outcome(bytes, read);
    if (!one.refused.empty()) {
      if (const std::string wrong = fault_of(one.refused, "data: "); !wrong.empty()) return wrong;
    } else if (worst_of(one.numbers) != Worst::finite) {
      return "numbers that are not finite were read";
    }
    if (!(outcome(also, read) == one)) return "the same file is read otherwise";
  }
  return "";
}
std::string bytes_fault(const std::string& bytes) { return tables_fault(bytes, bytes); }

std::string gzipped(const std::string& bytes) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  std::string to(deflateBound(&stream, bytes.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(&to[0]);
  stream.avail_out = static_cast<uInt>(to.size());
  deflate(&stream, Z_FINISH);
  to.resize(stream.total_out);
  deflateEnd(&stream);
  return to;
}

std::string csv_fault(const std::string& bytes) {
  const bool is_gzip = bytes.compare(0, 2, "\x1f\x8b") == 0;
  return tables_fault(bytes, is_gzip ? bytes : gzipped(bytes));
}

std::vector<std::string> csv_seeds() {
  std::string digits;
  for (int i = 0; i < 64; ++i) digits += std::to_string(i % 17) + ",";
  return {"1,2,3\n4,5,6\n",       "a;b;y\n1.5;-2e3;0\n# no\n\n+4;.5;1\n",
          "1\t2\r\n3\t4\r\n",     "0.1 1e-300\n2 x\n",
          "x,y\n1,one\nNA,two\n", digits + "7\n" + digits + "0\n"};
}

// What save() writes, as bytes.
std::string saved(const std::string& ending, const std::map<std::string, Tensor>& arrays) {
  Archive archive;
  if (ending == ".safetensors") {
    archive.things(const_cast<std::map<std::string, Tensor>&>(arrays));
    return archive.bytes();
  }
  const std::string path = (std::filesystem::temp_directory_path() /
                            ("argtape-fuzz-" + std::to_string(getpid()) + ".npz"))
                               .string();
  save(path, arrays);
  std::ifstream file(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::remove(path);
  return bytes;
}

std::map<std::string, Tensor> some_arrays() {
  return {{"x", tensor({2, 3}, {-1, -0.5, 0, 0.5, 1, 1.5})},
          {"y", tensor({2}, {1, 0})},
          {"none", zeros({0, 4})},
          {"number", tensor({}, {0.25})}};
}

// A safetensors file without the checksum, which would refuse whatever was changed.
std::string unchecked(std::string file) {
  for (const char* key : {"\"argtape\"", "\"crc32\""})
    if (const std::size_t at = file.find(key); at != std::string::npos) file[at + 1] = 'A';
  return file;
}

std::vector<std::string> npy_seeds() {
  std::vector<std::string> all;
  const std::pair<const char*, std::size_t> kinds[] = {{"<f4", 4}, {"<f8", 8}, {">f2", 2},
                                                       {"|u1", 1}, {"<i8", 8}, {"|b1", 1}};
  for (const auto& [kind, size] : kinds)
    for (const char* order : {"False", "True"}) {
      std::string header = std::string("{'descr': '") + kind + "', 'fortran_order': " + order +
                           ", 'shape': (3, 2), }";
      header.resize(118 - 10, ' ');
      header += '\n';
      std::string file("\x93NUMPY\x01\x00", 8);
      file += static_cast<char>(header.size());
      file += '\0';
      file += header + std::string(6 * size, size == 8 && kind[1] == 'f' ? '\x3f' : '\x01');
      all.push_back(file);
    }
  return all;
}

std::string loads_again(const std::string& bytes) {
  const MemoryFile file(bytes);
  std::map<std::string, Tensor> arrays, again;
  try {
    load(file.path(), arrays);
  } catch (const std::runtime_error& error) {
    return fault_of(error.what(), "cannot load '");
  }
  if (arrays.empty()) return "";
  const MemoryFile copy(saved(".safetensors", arrays));
  load(copy.path(), again);
  bool same = arrays.size() == again.size();
  for (const auto& [name, t] : arrays) same = same && identical(again[name], t);
  return same ? "" : "what was loaded does not come back";
}

std::string npz_fault(const std::string& bytes) {
  const Outcome one = outcome(bytes, named_table_in);
  const std::string wrong = one.refused.empty() ? "" : fault_of(one.refused, "data: ");
  return wrong.empty() ? loads_again(bytes) : wrong;
}

// A training, as a program keeps it.
struct Training {
  std::vector<Tensor> parameters = {ones({2, 3}), zeros({3})};
  Adam adam{1e-2};
  std::size_t step = 12;
  std::int8_t small = -3;
  bool yes = true;
  double x = 0.1;
  float y = 0.5;
  std::string text = "words";
  std::vector<double> curve = {1, 0.5};
  std::vector<std::size_t> order = {2, 0, 1};
  Rng rng{3, 5, 7};

  void archive(Archive& a) {
    a("parameters", parameters), a("adam", adam), a("step", step), a("small", small);
    a("yes", yes), a("x", x), a("y", y), a("text", text), a("curve", curve), a("order", order);
    a("rng", rng);
  }
};

std::string bytes_of(Training& training) {
  Archive archive;
  archive.things(training);
  return archive.bytes();
}

Training some_training() {
  Training training;
  Tape tape;
  const std::vector<Var> x = tape.borrow_parameters(training.parameters);
  training.adam.step(training.parameters, x, sum(square(x[0] + x[1])));
  return training;
}

std::string checkpoint_fault(const std::string& bytes) {
  const MemoryFile file(bytes);
  Training training, again;
  try {
    load(file.path(), training);
  } catch (const std::runtime_error& error) {
    return fault_of(error.what(), "cannot load '");
  }
  const std::string once = bytes_of(training);
  const MemoryFile copy(once);
  load(copy.path(), again);
  return bytes_of(again) == once ? "" : "what was loaded does not come back";
}

// The length of the images' file in two bytes, that file, and the labels' one.
std::string idx_fault(const std::string& bytes) {
  if (bytes.size() < 2) return "";
  const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(bytes[i] & 255); };
  const std::size_t size = std::min(bytes.size() - 2, byte(0) + 256 * byte(1));
  const MemoryFile labels(bytes.substr(2 + size));
  const Outcome one = outcome(bytes.substr(2, size), [&](const std::string& path) {
    return images_of(read_idx(path, labels.path()));
  });
  if (!one.refused.empty()) return fault_of(one.refused, "data: ");
  for (Scalar v : one.numbers)
    if (!(v >= 0 && v <= 1)) return "a pixel is out of range";
  return "";
}

std::vector<std::string> idx_seeds() {
  const std::string images(
      "\0\0\x08\x03\0\0\0\x02\0\0\0\x03\0\0\0\x02"
      "\0\x10\x20\x30\x40\xff\0\1\2\3\4\5",
      28),
      labels("\0\0\x08\x01\0\0\0\x02\x07\x09", 10);
  const auto pair = [](const std::string& p, const std::string& q) {
    return std::string({static_cast<char>(p.size()), static_cast<char>(p.size() >> 8U)}) + p + q;
  };
  return {pair(images, labels), pair(gzipped(images), labels), pair(images, gzipped(labels))};
}

// The flags are lines. In a folder of its own, which no path leaves.
std::string flags_fault(const std::string& bytes) {
  static const bool inside = [] {
    std::string name = (std::filesystem::temp_directory_path() / "argtape-XXXXXX").string();
    std::filesystem::current_path(mkdtemp(&name[0]));
    return true;
  }();
  std::vector<std::string> words = {"fuzz"};
  std::istringstream lines(bytes.substr(0, bytes.find('\0')));
  for (std::string line; inside && std::getline(lines, line);) {
    std::replace(line.begin(), line.end(), '/', '_');
    std::replace(line.begin(), line.end(), '.', '_');
    words.push_back(line);
  }
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());

  std::ostringstream out, err;
  std::streambuf *const cout = std::cout.rdbuf(out.rdbuf()), *const cerr =
                                                                 std::cerr.rdbuf(err.rdbuf());
  int steps = 3, status = 0;
  double rate = 0.5;
  std::string kind = "a";
  bool more = false;
  std::vector<std::string> rules;
  bool in_range = true;
  {
    argtape_examples::Program program("fuzz", "any flags");
    program.option("--steps", steps, "how many");
    program.option("--rate", rate, "how far");
    program.option("--kind", kind, "which");
    program.option("--more", more, "whether");
    program.option("--rules", rules, rule_names(), "rules");
    program.takes_digits();
    status = program.run(static_cast<int>(argv.size()), argv.data(), [&] {
      in_range = steps >= 1 && std::isfinite(rate) && !kind.empty() && !rules.empty() &&
                 program.threads >= 1;
      program.figure("steps", steps);
    });
  }
  std::cout.rdbuf(cout);
  std::cerr.rdbuf(cerr);
  const std::string words_said = err.str();
  if (!in_range) return "a flag's value is out of range";
  if (status == 0) return words_said.empty() ? "" : "it ends well, and says " + words_said;
  if (status != 2) return "its status is " + std::to_string(status) + ": " + words_said;
  const bool one_line = std::count(words_said.begin(), words_said.end(), '\n') == 1;
  return one_line && words_said.compare(0, 6, "fuzz: ") == 0 ? "" : "it says '" + words_said + "'";
}

}  // namespace

std::vector<Target> reader_targets() {
  return {{"idx", idx_seeds, idx_fault},
          {"gzip",
           [] {
             std::vector<std::string> all;
             for (const std::string& csv : csv_seeds()) all.push_back(gzipped(csv));
             all.push_back(all[0] + all[1]);
             return all;
           },
           bytes_fault},
          {"csv", csv_seeds, csv_fault},
          {"npy", npy_seeds, bytes_fault},
          {"npz", [] { return std::vector<std::string>{saved(".npz", some_arrays())}; }, npz_fault},
          {"safetensors",
           [] {
             const std::string file = saved(".safetensors", some_arrays());
             return std::vector<std::string>{file, unchecked(file)};
           },
           loads_again},
          {"checkpoint",
           [] {
             Training training = some_training();
             const std::string file = bytes_of(training);
             return std::vector<std::string>{unchecked(file), unchecked(file), file};
           },
           checkpoint_fault},
          {"flags",
           [] {
             return std::vector<std::string>{
                 "--steps\n5\n--rate=0.25\n--kind\nb\n--more\n--quick\n--seed\n7",
                 "--rules\nzero,reinmax\n--threads\n2\n--rate\n-1e-3", "--help",
                 "--json\nfigures\n--out\npage", "--data\n_"};
           },
           flags_fault}};
}
