// The one tensor type. This is the only file of the project that includes xtensor's containers.
#pragma once

// Through 0.25 xtensor's headers lie flat; from 0.26 on they are sorted into folders.
#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xarray.hpp>
#else
#include <xtensor/xarray.hpp>
#endif

#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <type_traits>
#include <vector>

#include "scalar.hpp"
#include "small_vector.hpp"

ARGTAPE_PUBLIC_BEGIN

/// So many numbers stand in a tensor itself, and move with it; more stand in a block of their own.
constexpr std::size_t kNumbersInside = 64 / sizeof(Scalar);

/// The length of each axis; {} is the shape of a single number. So many stand in the shape itself.
constexpr std::size_t kAxesInside = 4;
using Shape = SmallVector<std::size_t, OnResize::keep, kAxesInside>;

class Tensor;
struct Var;

/// The number of elements of a shape: the product of its lengths, 1 for {}. Throws
/// std::length_error if that is more than a computer can hold, as a negative length would be, or
/// would be but for an axis of length 0.
std::size_t size_of(const Shape& shape);

ARGTAPE_END

// What xtensor asks about a container of somebody else's.
namespace xt {
template <>
struct xcontainer_inner_types<argtape::Tensor> {
  using storage_type = argtape::SmallVector<argtape::Scalar, argtape::OnResize::leave_unset,
                                            argtape::kNumbersInside>;
  using reference = argtape::Scalar&;
  using const_reference = const argtape::Scalar&;
  using size_type = std::size_t;
  using shape_type = argtape::Shape;
  using strides_type = get_strides_t<shape_type>;
  using backstrides_type = strides_type;
  using inner_shape_type = shape_type;
  using inner_strides_type = strides_type;
  using inner_backstrides_type = strides_type;
  using temporary_type = argtape::Tensor;
  static constexpr layout_type layout = layout_type::row_major;
};
template <>
struct xiterable_inner_types<argtape::Tensor> : xcontainer_iterable_types<argtape::Tensor> {};
}  // namespace xt

ARGTAPE_PUBLIC_BEGIN

/// A number, or a list of them in braces, as deep as a tensor has axes.
class Literal {
 public:
  Literal(double number) : number_(number) {}
  Literal(std::initializer_list<Literal> list) : size_(list.size()) {
    list_ = size_ > 0 ? list.begin() : this;  // an empty list is one, too
  }
  Literal(const Var&) = delete;  // a Var's number is v.item(); stack({v, w}) is a Var of Vars

 private:
  friend class Tensor;
  const Literal* list_ = nullptr;  // null: a number
  std::size_t size_ = 0;
  double number_ = 0;
};

/// A dense array of Scalar, row-major, of any rank. Tensor{2, 3} is the vector (2, 3), Tensor{{2},
/// {3}} a column, zeros({2, 3}) a matrix. All of xtensor works on it; for its views include
/// <xtensor/xview.hpp>.
class Tensor : public xt::xstrided_container<Tensor>, public xt::xcontainer_semantic<Tensor> {
 public:
  using expression_tag = xt::xtensor_expression_tag;
  static constexpr std::size_t rank = SIZE_MAX;  // xtensor's word for any

  /// The number 0, of shape ().
  Tensor() : storage_(1, 0) {}
  Tensor(Scalar number) : storage_(1, number) {}
  Tensor(const Tensor&) = default;
  Tensor(Tensor&&) = default;
  Tensor& operator=(Tensor&&) = default;
  /// If it throws, as the others may too, the tensor is as it was.
  Tensor& operator=(const Tensor& other) { return *this = Tensor(other); }
  /// Throws std::invalid_argument for lists that differ in length or depth.
  Tensor(std::initializer_list<Literal> list);
  explicit Tensor(const Shape& shape) { resize(shape, true); }  // not set
  Tensor(const Shape& shape, Scalar value);
  /// What xtensor computes, at once.
  template <class E>
  Tensor(const xt::xexpression<E>& e) : storage_(1, 0) {
    assign(e);
  }
  template <class E>
  Tensor& operator=(const xt::xexpression<E>& e) {
    return xt::xcontainer_semantic<Tensor>::operator=(e);
  }
  /// Another shape, whose numbers are not set. Throws as size_of() does, or std::bad_alloc, and
  /// leaves the tensor as it was then; xtensor's own would let the product wrap around.
  void resize(const Shape& shape, bool force = false);
  template <class S>
  void resize(const S& shape, bool force = false) {
    resize(Shape(shape.begin(), shape.end()), force);
  }
  Tensor(const Var&) = delete;  // a Var's numbers are x.value()
  template <class T, class A>
  Tensor(const std::vector<T, A>&) = delete;  // a shape first, also to print: tensor({v.size()}, v)

 private:
  friend class xt::xcontainer<Tensor>;
  storage_type& storage_impl() noexcept { return storage_; }
  const storage_type& storage_impl() const noexcept { return storage_; }
  Scalar* fill_from(const Literal& list, std::size_t axis, Scalar* to);

  storage_type storage_;
};
template <class V>
using IfVar = std::enable_if_t<std::is_same_v<V, Var>, Tensor>;
template <class V>
IfVar<V>& operator+=(Tensor&, const V&) = delete;  // a Var's numbers are x.value()
template <class V>
IfVar<V>& operator-=(Tensor&, const V&) = delete;  // a Var's numbers are x.value()
template <class V>
IfVar<V>& operator*=(Tensor&, const V&) = delete;  // a Var's numbers are x.value()
template <class V>
IfVar<V>& operator/=(Tensor&, const V&) = delete;  // a Var's numbers are x.value()

/// Integers that name axes, one or several; a negative one counts from the last axis, as in Python.
struct Axes : std::vector<int> {
  using std::vector<int>::vector;
  Axes(int axis) : std::vector<int>{axis} {}
  template <class T, class = std::enable_if_t<!std::is_arithmetic_v<T>>>
  Axes(const T&) = delete;  // axes are integers, and stand behind x: sum(x, -1), sum(x, {0, 1})
};

/// A shape as Python prints it: "(2, 3)", "(4,)", "()".
std::string str(const Shape& shape);

/// A number for a message, to so many significant digits: "0.5", "1e-09".
std::string str(double x, int digits = 6);

/// A tensor's numbers as they are written in C++, to `digits` significant ones: "{{1, 0.25}, {0,
/// 3}}". Of more than a thousand each axis shows the first three and the last three.
std::string str(const Tensor& t, int digits = 4);

template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>
bool operator==(const Tensor&, N) {
  static_assert(!std::is_arithmetic_v<N>, "the only number is t(); xt::equal(t, x) is of each");
  return false;
}
template <class N, class = std::enable_if_t<std::is_arithmetic_v<N>>>
bool operator!=(const Tensor& t, N x) {
  return !(t == x);
}

/// As str() has it.
std::ostream& operator<<(std::ostream& out, const Shape& shape);
std::ostream& operator<<(std::ostream& out, const Tensor& t);
/// What xtensor computes, as the same. For any stream: so xtensor's own printing is the nearer one
/// where it is included.
template <
    class Stream, class E,
    class = std::enable_if_t<std::is_base_of_v<std::ostream, Stream> && !std::is_same_v<E, Tensor>>>
Stream& operator<<(Stream& out, const xt::xexpression<E>& e) {
  return out << Tensor(e), out;
}

/// A tensor whose elements are not set yet.
Tensor uninitialised(const Shape& shape);
Tensor zeros(const Shape& shape);
Tensor ones(const Shape& shape);
Tensor full(const Shape& shape, double value);

/// `values` in row-major order under `shape`. Throws std::invalid_argument if their number differs.
Tensor tensor(const Shape& shape, const std::vector<double>& values);
template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
Tensor tensor(const Shape& shape, const std::vector<T>& values) {
  return tensor(shape, std::vector<double>(values.begin(), values.end()));
}

/// `t` under another shape of the same size.
Tensor reshaped(Tensor t, const Shape& shape);

/// The axis as 0..rank-1. Throws std::invalid_argument, in the name of `op`, if it is out of range.
std::size_t axis_of(const char* op, int axis, const Shape& shape);

/// The shape of two operands brought together as NumPy does: aligned at the last axis, an axis of
/// length 1 stretched. Throws std::invalid_argument, in the name of `op`, if they do not fit.
Shape broadcast_shape(const char* op, const Shape& a, const Shape& b);

/// Whether a tensor of shape `small` stretches to `large` as NumPy broadcasts.
bool broadcasts_to(const Shape& small, const Shape& large);

/// The Euclidean norm, in double, whose squares neither overflow nor vanish.
double norm(const Tensor& t);

/// The worst that stands among a tensor's numbers.
enum class Worst { finite, infinite, nan };
Worst worst_of(const Tensor& t);
/// "finite", "infinite", "NaN".
const char* str(Worst worst);
std::ostream& operator<<(std::ostream& out, Worst worst);

/// True if all elements agree bit for bit and the shapes do too.
bool identical(const Tensor& a, const Tensor& b);

ARGTAPE_END
