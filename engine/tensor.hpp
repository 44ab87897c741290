// The one tensor type. This is the only file of the project that includes xtensor's containers.
#pragma once

// Through 0.25 xtensor's headers lie flat; from 0.26 on they are sorted into folders.
#if __has_include(<xtensor/containers/xarray.hpp>)
#include <xtensor/containers/xarray.hpp>
#else
#include <xtensor/xarray.hpp>
#endif

#include <cstddef>
#include <string>
#include <vector>

#include "scalar.hpp"
#include "small_vector.hpp"

ARGTAPE_PUBLIC_BEGIN

/// So many numbers stand in a tensor itself, and move with it; more stand in a block of their own.
constexpr std::size_t kNumbersInside = 64 / sizeof(Scalar);

/// A dense array of Scalar, row-major, of any rank. Tensor{2, 3} is the vector (2, 3);
/// zeros({2, 3}) is a matrix. All of xtensor works on it; for
/// its views include <xtensor/xview.hpp>.
using Tensor = xt::xarray_container<SmallVector<Scalar, kNumbersInside, false>,
                                    xt::layout_type::row_major, SmallVector<std::size_t>>;

/// The length of each axis; {} is the shape of a single number.
using Shape = Tensor::shape_type;

/// Integers that name axes, one or several; a negative one counts from the last axis, as in Python.
struct Axes : std::vector<int> {
  using std::vector<int>::vector;
  Axes(int axis) : std::vector<int>{axis} {}
};

/// The number of elements of a shape: the product of its lengths, 1 for {}. Throws
/// std::length_error if that is more than a computer can hold, as a negative length would be.
std::size_t size_of(const Shape& shape);

/// A shape as Python prints it: "(2, 3)", "(4,)", "()".
std::string str(const Shape& shape);

/// A number for a message, to so many significant digits: "0.5", "1e-09".
std::string str(double x, int digits = 6);

/// A tensor's numbers as they are written in C++, to `digits` significant ones: "{{1, 0.25}, {0,
/// 3}}".
std::string str(const Tensor& t, int digits = 4);

/// A tensor whose elements are not set yet.
Tensor uninitialised(const Shape& shape);
Tensor zeros(const Shape& shape);
Tensor ones(const Shape& shape);
Tensor full(const Shape& shape, double value);

/// `values` in row-major order under `shape`. Throws std::invalid_argument if their number differs.
Tensor tensor(const Shape& shape, const std::vector<double>& values);

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

/// True if all elements agree bit for bit and the shapes do too.
bool identical(const Tensor& a, const Tensor& b);

ARGTAPE_END
