#include "engine/tensor.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <ostream>

#include "engine/require.hpp"

ARGTAPE_PUBLIC_BEGIN

Tensor::Tensor(const Shape& shape, Scalar value) : Tensor(shape) {
  std::fill(storage_.begin(), storage_.end(), value);
}

Tensor::Tensor(std::initializer_list<Literal> list) {
  const Literal all(list);
  Shape shape;
  for (const Literal* first = &all; first->list_; first = first->list_) {
    shape.push_back(first->size_);
    if (first->size_ == 0) break;
  }
  resize(shape, true);
  fill_from(all, 0, data());
}

// Gives the place behind the last number.
Scalar* Tensor::fill_from(const Literal& list, std::size_t axis, Scalar* to) {
  const std::size_t axes = shape().size();
  if ((list.list_ != nullptr) != (axis < axes) || (axis < axes && list.size_ != shape()[axis]))
    refuse("Tensor: in braces for ", shape(), " stands ",
           list.list_ ? "a list of " + std::to_string(list.size_) : "a number", " on axis ", axis,
           "; need lists of equal length and depth");
  if (!list.list_) *to++ = static_cast<Scalar>(list.number_);
  for (std::size_t i = 0; i < list.size_; ++i) to = fill_from(list.list_[i], axis + 1, to);
  return to;
}

void Tensor::resize(const Shape& shape, bool force) {
  if (shape.size() > kAxesInside && !force) {  // lists so long want memory too: all of it, or none
    if (shape != this->shape())
      *this = Tensor(shape);  // xtensor assigns in place by the same shape
    return;
  }
  storage_.resize(size_of(shape));
  xt::xstrided_container<Tensor>::resize(shape, force);
}

std::size_t size_of(const Shape& shape) {
  std::size_t n = 1;
  bool none = false;
  for (std::size_t d : shape) {
    none |= d == 0;
    if (__builtin_mul_overflow(n, d + (d == 0), &n) || n > kMostBytes)
      refuse<std::length_error>("size_of: the shape is ", shape,
                                "; need fewer elements than memory holds");
  }
  return none ? 0 : n;
}

std::string str(const Shape& shape) {
  std::string s = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + in_words(shape[i]);
  return s + (shape.size() == 1 ? ",)" : ")");
}

// As printf's %g in the C locale, whatever the locale is.
std::string str(double x, int digits) {
  if (std::isnan(x)) return "nan";  // whatever its sign
  char number[64];
  const auto format = std::chars_format::general;
  return {number, std::to_chars(number, number + sizeof number, x, format, digits).ptr};
}

namespace {
std::string axis_in_words(const Tensor& t, std::size_t axis, const Scalar*& next, int digits) {
  if (axis == t.dimension())
    return str(static_cast<double>(*next++) + 0.0, digits);  // -0 is 0 to a reader
  std::string s = "{";
  const std::size_t length = t.shape()[axis];
  for (std::size_t i = 0; i < length; ++i) {
    if (t.size() > 1000 && i == 3 && length > 6) {
      next += (length - 6) * static_cast<std::size_t>(t.strides()[axis]);
      i = length - 3;
      s += ", ...";
    }
    s += (i ? ", " : "") + axis_in_words(t, axis + 1, next, digits);
  }
  return s + "}";
}
}  // namespace

std::string str(const Tensor& t, int digits) {
  const Scalar* next = t.data();
  return axis_in_words(t, 0, next, digits);
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << str(shape); }
std::ostream& operator<<(std::ostream& out, const Tensor& t) { return out << str(t); }

Tensor uninitialised(const Shape& shape) { return Tensor(shape); }
Tensor full(const Shape& shape, double value) { return Tensor(shape, static_cast<Scalar>(value)); }
Tensor zeros(const Shape& shape) { return full(shape, 0); }
Tensor ones(const Shape& shape) { return full(shape, 1); }

Tensor tensor(const Shape& shape, const std::vector<double>& values) {
  if (values.size() != size_of(shape))
    refuse("tensor: ", values.size(), " values for shape ", shape, "; need ", size_of(shape));
  Tensor t = uninitialised(shape);
  std::transform(values.begin(), values.end(), t.data(),
                 [](double v) { return static_cast<Scalar>(v); });
  return t;
}

Tensor reshaped(Tensor t, const Shape& shape) {
  if (size_of(shape) != t.size()) refuse("reshape: x is ", t.shape(), "; cannot become ", shape);
  t.reshape(shape);
  return t;
}

std::size_t axis_of(const char* op, int axis, const Shape& shape) {
  const int rank = static_cast<int>(shape.size());
  if (axis < -rank || axis >= rank)
    refuse(op, ": axis ", axis, " of ", shape,
           (rank == 0 ? "; a single number has no axes"
                      : "; need " + std::to_string(-rank) + ".." + std::to_string(rank - 1)));
  return static_cast<std::size_t>(axis < 0 ? axis + rank : axis);
}

Shape broadcast_shape(const char* op, const Shape& a, const Shape& b) {
  Shape out = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  for (std::size_t i = 0; i < shorter.size(); ++i) {
    std::size_t& d = out[out.size() - shorter.size() + i];
    if (d == 1) d = shorter[i];
    if (d != shorter[i] && shorter[i] != 1)
      refuse(op, ": a is ", a, ", b is ", b,
             "; need equal lengths, or 1, on each axis, counted from the last");
  }
  return out;
}

bool broadcasts_to(const Shape& small, const Shape& large) {
  if (small.size() > large.size()) return false;
  for (std::size_t i = 0; i < small.size(); ++i)
    if (small[i] != 1 && small[i] != large[large.size() - small.size() + i]) return false;
  return true;
}

double norm(const Tensor& t) {
  double squares = 0, norm = 0;
  const Scalar* x = t.data();
#pragma omp simd reduction(+ : squares)
  for (std::size_t i = 0; i < t.size(); ++i)
    squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  if (squares > 1e-280 && squares < 1e280) return std::sqrt(squares);
  for (Scalar x : t) norm = std::hypot(norm, static_cast<double>(x));
  return norm;
}

Worst worst_of(const Tensor& t) {
  Worst worst = Worst::finite;
  for (Scalar x : t)
    if (std::isnan(x))
      return Worst::nan;
    else if (std::isinf(x))
      worst = Worst::infinite;
  return worst;
}

const char* str(Worst worst) {
  return worst == Worst::nan ? "NaN" : worst == Worst::infinite ? "infinite" : "finite";
}

std::ostream& operator<<(std::ostream& out, Worst worst) { return out << str(worst); }

bool identical(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() &&
         (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0);
}

ARGTAPE_END
