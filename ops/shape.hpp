// Ops that move numbers without changing them. All throw std::invalid_argument, in their own name,
// for shapes and axes that do not fit, and std::length_error for a shape of more numbers than
// memory holds; a negative axis counts from the last.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "../engine/broadcast.hpp"
#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// An integer of any type whose sign counts: a place, from the end if negative; an open length.
struct Integer {
  template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
  Integer(I value) : value(static_cast<std::ptrdiff_t>(value)) {
    if (std::is_unsigned_v<I> && this->value < 0) this->value = PTRDIFF_MAX;  // beyond all
  }
  std::ptrdiff_t value;
};
/// x's numbers, in row-major order, under another shape of the same size. One length may be left
/// open: reshape(x, {-1, 3}).
Var reshape(Var x, const Shape& shape);
Var reshape(Var x, std::initializer_list<Integer> lengths);
/// x with a new axis of length 1, which is axis `axis` of the result.
Var expand_dims(Var x, int axis);
/// x without axis `axis`, which must be of length 1.
Var squeeze(Var x, int axis);
/// Axis i of the result is axis axes[i] of x; without `axes`, their order is reversed.
Var transpose(Var x, const Axes& axes = {});
/// x stretched to `shape`, as NumPy broadcasts.
Var broadcast(Var x, const Shape& shape);
/// The parts one after the other along an axis; their other axes must agree.
Var concatenate(const std::vector<Var>& parts, int axis = 0);
/// The parts, all of one shape, along a new axis. (Beside `using namespace std` and <stack>, or
/// <valarray>, say argtape::stack, argtape::slice.)
Var stack(const std::vector<Var>& parts, int axis = 0);
/// Elements begin <= i < end of an axis, every step-th; negative places count from the end.
Var slice(Var x, Integer begin, Integer end, int axis = 0, Integer step = 1);
/// Element i of the first axis, without that axis: x[i]. A negative i counts from the end.
Var element(Var x, Integer i);
/// Zeros put before and after along an axis.
Var pad(Var x, std::size_t before, std::size_t after, int axis = 0);
/// Elements indices[0], indices[1], ... of an axis; an index may occur more than once.
Var take(Var x, const std::vector<std::size_t>& indices, int axis = 0);

/// y[i] = x[indices[i]], both counted in row-major order; y has `shape`. With scatter, its
/// opposite, for whoever writes an op that picks numbers.
Var gather(Var x, const std::vector<std::size_t>& indices, const Shape& shape);
/// y of `shape`, zero but for y[indices[i]] += x[i].
Var scatter(Var x, const std::vector<std::size_t>& indices, const Shape& shape);

/// y[o, k, i] = x[o, indices[o, k, i], i] around an axis, as NumPy has it and as PyTorch's gather
/// does: an index for each number of y, in row-major order. y's other axes are x's, so the number
/// of indices says how long this one is. Its opposite is scatter_add.
Var take_along_axis(Var x, const std::vector<std::size_t>& indices, int axis = -1);
/// y, whose axis is `length` long, zero but for y[o, indices[o, k, i], i] += x[o, k, i].
Var scatter_add(Var x, const std::vector<std::size_t>& indices, std::size_t length, int axis = -1);
/// The elements of an axis, the last one first.
Var flip(Var x, int axis);
/// Parts of these lengths, one after the other along an axis: the opposite of concatenate.
std::vector<Var> split(Var x, const std::vector<std::size_t>& lengths, int axis = 0);
/// Parts of one length, the last of which may be shorter; as PyTorch's split, where NumPy's takes
/// the number of parts.
std::vector<Var> split(Var x, Integer length, int axis = 0);
std::vector<Var> split(Var x, std::initializer_list<Integer> lengths, int axis = 0);

/// Row i is 1 at labels[i], else 0: of shape (labels, classes). Throws for a label out of range.
Tensor one_hot(const std::vector<std::size_t>& labels, std::size_t classes);

ARGTAPE_END
